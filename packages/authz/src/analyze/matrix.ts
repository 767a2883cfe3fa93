/**
 * The policy as a picture: one page of HTML, actions down, roles across. A cell's colour is decided over all situations,
 * forbids included, so green means always and red means never, whatever the texts of its grants look like.
 * Invariant: nothing is loaded, nothing runs (the page forbids itself both), and every text is escaped.
 */
import { findPath, indexOf } from '../implication.ts';
import type { Policy } from '../policy.ts';
import type { ActionIndex, IndexedForbid, PolicyIndex } from '../policy-index.ts';
import type { ForbidDocument } from '../policy-types.ts';
import { Worlds } from '../worlds.ts';
import { conditionText } from './condition-text.ts';
import { STYLE } from './matrix-style.ts';

/** Whether a role gets through: in every situation, in some, in none although it is granted, or it is not granted. */
type Access = 'always' | 'sometimes' | 'never' | 'none';

/**
 * Roles × actions of a policy as a self-contained page of HTML.
 *
 * @throws RingfenceAuthzError `authz.analysis_too_large`.
 * @example
 * ```ts
 * await writeFile('policy.html', matrixHtml(policy));
 * ```
 */
export function matrixHtml(policy: Policy): string {
  const index = indexOf(policy);
  const { resources, roles, grants, forbids } = index.document;
  const reasons = new Map(forbids.map((forbid) => [forbid.id, forbid]));
  const bodies = Object.entries(resources).map(([resource, { actions }]) => {
    const rows = actions.flatMap((action) => {
      const found = index.actions.get(`${resource}.${action}`);
      return found === undefined ? [] : [row(index, found, action, reasons)];
    });
    const heading = `<tr class="kind"><th scope="rowgroup" colspan="${roles.length + 2}"><span>${escaped(resource)}</span></th></tr>`;
    return `<tbody>\n${heading}\n${rows.join('\n')}\n</tbody>`;
  });
  const heads = roles.map((role) => `<th scope="col">${escaped(role)}</th>`).join('');
  const sizes = `${roles.length} roles, ${index.actions.size} actions, ${grants.length} grants, ${forbids.length} forbids`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Who may do what</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Who may do what</h1>
<p>${sizes} · policy <code title="${policy.hash}">${policy.hash.slice(0, 12)}</code></p>
<ul class="legend" aria-label="Legend">
<li><i class="swatch always"></i>always</li>
<li><i class="swatch sometimes"></i>under the condition shown</li>
<li><i class="swatch never"></i>granted, but always refused</li>
<li><i class="swatch none"></i>not granted</li>
<li><b class="step">MFA</b>asks for a step-up</li>
<li><b class="approve">2 × role</b>asks for approvals</li>
<li><b class="stop">⊘</b>a forbid for everybody, or for this role, applies too</li>
</ul>
</header>
<main tabindex="0" role="region" aria-labelledby="caption">
<table>
<caption id="caption">What each role may do within its own organisation; everything else is denied</caption>
<thead><tr><th scope="col" class="corner">Action</th>${heads}<th scope="col">Forbidden</th></tr></thead>
${bodies.join('\n')}
</table>
</main>
</body>
</html>
`;
}

function row(
  index: PolicyIndex,
  found: ActionIndex,
  name: string,
  reasons: ReadonlyMap<string, ForbidDocument>,
): string {
  const worlds = new Worlds([index], found.action);
  const cells = index.document.roles.map((role) => cell(index, found, role, worlds));
  const forbids = found.forbids.map(({ id }) => forbidText(reasons.get(id)));
  return `<tr><th scope="row" title="${escaped(found.action)}">${escaped(name)}</th>${cells.join('')}<td class="forbids">${forbids.join('')}</td></tr>`;
}

function cell(index: PolicyIndex, { grants, forbids }: ActionIndex, role: string, worlds: Worlds): string {
  const ordinal = index.roles.get(role) as number;
  const mine = grants.filter(({ roleSet }) => roleSet.has(ordinal));
  const access = mine.length === 0 ? 'none' : accessOf(worlds, role);
  if (access === 'none') return '<td class="none"><span class="sr">not granted</span></td>';
  const against = forbids.filter(({ roleSet }) => roleSet?.has(ordinal) ?? true);
  const lines = mine.map(({ id, condition }) => {
    const { sentence, stepUp, approvals } = conditionText(condition);
    const marks = [
      ...stepUp.map((text) => `<b class="step">${escaped(text)}</b>`),
      ...approvals.map((text) => `<b class="approve">${escaped(text)}</b>`),
    ];
    const bare = access === 'always' ? '<em>always</em>' : '<em>granted</em>';
    const text = sentence === '' && marks.length === 0 ? bare : escaped(sentence);
    return `<div title="${escaped(`grant ${id}`)}">${[text, ...marks].filter((part) => part !== '').join(' ')}</div>`;
  });
  return `<td class="${access}">${word(access)}${lines.join('')}${marker(against)}</td>`;
}

function word(access: Access): string {
  if (access === 'always') return '';
  return `<span class="sr">${access === 'never' ? 'always refused: ' : 'under a condition: '}</span>`;
}

function marker(forbids: readonly IndexedForbid[]): string {
  if (forbids.length === 0) return '';
  const names = forbids.map(({ id }) => id).join(', ');
  return `<b class="stop" title="${escaped(`forbid ${names}`)}">⊘<span class="sr"> forbid ${escaped(names)}</span></b>`;
}

function forbidText(forbid: ForbidDocument | undefined): string {
  if (forbid === undefined) return '';
  const when = conditionText(forbid.when).sentence;
  const { sentence, stepUp, approvals } = conditionText(forbid.unless);
  const lifted = [sentence, ...stepUp, ...approvals].filter((part) => part !== '').join(' and ');
  const whom = forbid.roles === undefined ? '' : ` for ${forbid.roles.join(', ')}`;
  const text = `${when === '' ? 'always' : `where ${when}`}${whom}${lifted === '' ? '' : `, unless ${lifted}`}`;
  return `<div title="${escaped(`forbid ${forbid.id}`)}"><b class="stop">⊘</b> ${escaped(text)}<small>${escaped(forbid.reason)}</small></div>`;
}

function accessOf(worlds: Worlds, role: string): Access {
  const level = worlds.level(0, [role]);
  if (findPath(worlds, level, 0, (reached) => reached < 3) === undefined) return 'never';
  return findPath(worlds, level, 0, (reached) => reached > 0) === undefined ? 'always' : 'sometimes';
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for HTML, in content and in quoted attributes; control characters and marks of direction are spelt out. */
function escaped(text: string): string {
  return text
    .replace(
      /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu,
      (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
    )
    .replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
