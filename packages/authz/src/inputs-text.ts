/**
 * The canonical JSON of the inputs of a decision, which their hash is of. Byte for byte what `canonicalJson` gives, and
 * several times faster for the usual inputs: their members are put down in order, and one look at all texts together tells
 * whether each can stand in JSON as it is.
 */
import { type CanonicalValue, canonicalJson, isPlainText, sortedKeys } from './canonical.ts';
import type { DecisionInputs, PrincipalInputs, ResourceInputs } from './record-inputs.ts';
import type { SessionFactsInit } from './session-facts.ts';

/** The canonical JSON of inputs that are well-formed. */
export function inputsText(inputs: DecisionInputs): string {
  const { action, approvals, now, principal, problem, resource, session } = inputs;
  const seldom = approvals ?? problem ?? resource?.illTyped;
  if (seldom === undefined && (session === undefined || session.mfa !== undefined)) {
    const writer = new Writer();
    writer.raw('{"action":').text(action);
    if (now !== undefined) writer.raw(`,"now":${now}`);
    if (principal !== undefined) writePrincipal(writer, principal);
    if (resource !== undefined) writeResource(writer, resource);
    if (session !== undefined) writeSession(writer, session);
    writer.raw('}');
    if (isPlainText(writer.texts)) return writer.json;
  }
  return canonicalJson(inputs as unknown as CanonicalValue);
}

/** JSON, and beside it every text in it. */
class Writer {
  json = '';
  texts = '';

  raw(json: string): this {
    this.json += json;
    return this;
  }

  text(text: string): this {
    this.json += `"${text}"`;
    this.texts += text;
    return this;
  }
}

function writePrincipal(writer: Writer, { id, org, roles }: PrincipalInputs): void {
  writer.raw(',"principal":{"id":').text(id).raw(',"org":').text(org).raw(',"roles":[');
  for (let k = 0; k < roles.length; k += 1) writer.raw(k === 0 ? '' : ',').text(roles[k] as string);
  writer.raw(']}');
}

function writeResource(writer: Writer, { attributes, id, org }: ResourceInputs): void {
  writer.raw(',"resource":{"attributes":{');
  let first = true;
  for (const name of sortedKeys(attributes)) {
    writer
      .raw(first ? '' : ',')
      .text(name)
      .raw(':');
    first = false;
    const value = attributes[name] as string | number | boolean;
    if (typeof value === 'string') writer.text(value);
    else writer.raw(`${value}`);
  }
  writer.raw('}');
  if (id !== undefined) writer.raw(',"id":').text(id);
  writer.raw(',"org":').text(org).raw('}');
}

function writeSession(writer: Writer, { acr, authenticatedAt, mfa, ssoConnection }: SessionFactsInit): void {
  writer.raw(',"session":{');
  if (acr !== undefined) writer.raw('"acr":').text(acr).raw(',');
  if (authenticatedAt !== undefined) writer.raw(`"authenticatedAt":${authenticatedAt},`);
  writer.raw(`"mfa":${mfa}`);
  if (ssoConnection !== undefined) writer.raw(',"ssoConnection":').text(ssoConnection);
  writer.raw('}');
}
