/** The style of the matrix: system fonts, light and dark, headers that stay, and colours that differ in lightness too. */

/** The style sheet. A constant: nothing of a policy goes into it. */
export const STYLE = `
:root {
  --page: #f6f7f9; --card: #fff; --text: #1a1f29; --dim: #667085; --line: #e3e6ec; --head: #fbfbfd;
  --always: #d5f2df; --sometimes: #fff3cd; --never: #fbdcdc; --edge-always: #2f9e5b; --edge-sometimes: #d39e1d;
  --edge-never: #c9403f; --step-bg: #e0e7ff; --step: #3538a0; --approve-bg: #ede1fb; --approve: #6a2fa0; --stop: #b42323;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1218; --card: #171b23; --text: #e4e8ef; --dim: #97a1b3; --line: #2a303c; --head: #1c212b;
    --always: #16351f; --sometimes: #372f15; --never: #3f1b1d; --edge-always: #47c37a; --edge-sometimes: #d9a93a;
    --edge-never: #ef6a69; --step-bg: #272c5c; --step: #b9c2ff; --approve-bg: #3b2457; --approve: #dabdff; --stop: #ff8a89;
  }
}
* { box-sizing: border-box }
body { margin: 0; height: 100vh; display: flex; flex-direction: column; background: var(--page); color: var(--text);
  font: 13px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
header { padding: 18px 24px 12px }
h1 { margin: 0; font-size: 20px; letter-spacing: -.01em }
p { margin: 2px 0 10px; color: var(--dim) }
code { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 0; padding: 0; list-style: none; color: var(--dim) }
.legend li { display: flex; align-items: center; gap: 6px }
.swatch { width: 14px; height: 14px; border-radius: 3px; border: 1px solid var(--line) }
.swatch.always { background: var(--always); border-color: var(--edge-always) }
.swatch.sometimes { background: var(--sometimes); border-color: var(--edge-sometimes) }
.swatch.never { background: var(--never); border-color: var(--edge-never) }
main { position: relative; flex: 1; min-height: 0; overflow: auto; margin: 0 24px 24px; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px }
main:focus-visible { outline: 2px solid var(--edge-always); outline-offset: 2px }
table { border-collapse: separate; border-spacing: 0; min-width: 100% }
caption { position: sticky; left: 0; max-width: calc(100vw - 50px); padding: 10px 14px; text-align: left; color: var(--dim); caption-side: top }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); border-right: 1px solid var(--line); text-align: left;
  vertical-align: top }
thead th { position: sticky; top: 0; z-index: 2; background: var(--head); border-bottom: 2px solid var(--line);
  vertical-align: bottom }
thead .corner { left: 0; z-index: 3 }
tbody th[scope=row] { position: sticky; left: 0; z-index: 1; background: var(--card); font-weight: 500; white-space: nowrap;
  padding-left: 22px }
.kind th { background: var(--head); font-weight: 650; padding-top: 9px }
.kind span { position: sticky; left: 10px }
td { min-width: 96px; max-width: 250px }
td.always { background: var(--always); box-shadow: inset 3px 0 var(--edge-always) }
td.sometimes { background: var(--sometimes); box-shadow: inset 3px 0 var(--edge-sometimes) }
td.never { background: var(--never); box-shadow: inset 3px 0 var(--edge-never) }
td.never div { text-decoration: line-through; color: var(--dim) }
td:not(.forbids) div { width: max-content; max-width: 144px }
td div + div { margin-top: 4px; padding-top: 4px; border-top: 1px dashed var(--line) }
td em { font-style: normal }
td.forbids { min-width: 210px; max-width: 340px; border-right: 0 }
thead th:last-child { border-right: 0 }
td.forbids small { display: block; color: var(--dim); font-size: 12px }
b.step, b.approve { display: inline-block; padding: 0 6px; border-radius: 9px; font-size: 11.5px; font-weight: 600;
  white-space: nowrap }
b.step { background: var(--step-bg); color: var(--step) }
b.approve { background: var(--approve-bg); color: var(--approve) }
b.stop { color: var(--stop); font-weight: 600 }
tbody tr:not(.kind):hover th, tbody tr:not(.kind):hover td { filter: brightness(.97) }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
@media (max-width: 700px) {
  header { padding: 12px 12px 10px }
  main { margin: 0 8px 8px }
  tbody th[scope=row] { min-width: 104px; max-width: 128px; padding-left: 14px; white-space: normal; overflow-wrap: anywhere }
}
@media print { * { print-color-adjust: exact } body { height: auto } main { overflow: visible; border: 0 } th { position: static !important } }
`;
