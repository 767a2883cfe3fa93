/** A request as one line for a person: who, what, on which resource, in which session. */
import type { DecisionInputs } from '../record-inputs.ts';
import { printable } from './terminal.ts';

/** The request in words, without its organisation. */
export function situationText({
  action,
  principal,
  resource,
  session,
  approvals,
  now,
}: DecisionInputs): string {
  const attributes = Object.entries(resource?.attributes ?? {}).map(
    ([name, value]) => `${name}=${JSON.stringify(value)}`,
  );
  const target = [resource?.id === undefined ? 'new' : resource.id, ...attributes].join(' ');
  const facts = [
    session?.mfa === true ? 'second factor' : 'no second factor',
    ...(session?.acr === undefined ? [] : [`acr ${session.acr}`]),
    ...(session?.ssoConnection === undefined ? [] : ['SSO']),
    ...(session?.authenticatedAt === undefined || now === undefined
      ? []
      : [`authenticated ${now - session.authenticatedAt} ms ago`]),
    ...(approvals ?? []).map(({ by, roles }) => `approved by ${by} (${roles.join('+')})`),
  ];
  const who = `${principal?.id} (${(principal?.roles ?? []).join('+')})`;
  return printable(`${who} · ${action} · ${target} · ${facts.join(', ')}`);
}
