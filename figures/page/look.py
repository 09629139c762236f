"""How the page looks: one style sheet for screen, phone, dark rooms and paper; no font from elsewhere."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #595959; --paper: #fff; --line: #d5d5d5;
  --shade: #f4f5f6; --link: #005a9c; --supported: #00614e; --refuted: #a03c00; --undecided: #555; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --soft: #b3b3b3; --paper: #16181a;
  --line: #43474b; --shade: #212427; --link: #7cc0ff; --supported: #5fd3b5; --refuted: #ff9d66;
  --undecided: #b9b9b9; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
main, header, nav { max-width: 58rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
a { color: var(--link); }
a.skip { position: absolute; left: -60rem; }
a.skip:focus { left: 1rem; top: .5rem; background: var(--paper); padding: .3rem .6rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; }
ul.verdicts { list-style: none; padding: 0; }
ul.verdicts li { border-left: 5px solid var(--line); padding: .15rem 0 .15rem .8rem; margin: .7rem 0; }
ul.verdicts li.supported { border-color: var(--supported); }
ul.verdicts li.refuted { border-color: var(--refuted); }
ul.verdicts li.undecided { border-color: var(--undecided); border-left-style: dashed; }
b.supported { color: var(--supported); } b.refuted { color: var(--refuted); }
b.undecided { color: var(--undecided); }
.soft { color: var(--soft); font-size: .9rem; }
.warning { border: 1px solid var(--refuted); border-radius: 6px; padding: .5rem .8rem; }
.wide { overflow-x: auto; max-width: 100%; }
.wide:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .875rem; margin: .4rem 0 1rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { padding: .28rem .5rem; text-align: right; vertical-align: bottom;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.text { text-align: left; }
td.text { min-width: 8rem; }
tbody th { font-weight: 500; white-space: nowrap; }
tr.mean > * { font-weight: 700; border-top: 2px solid var(--ink); }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) minmax(0, 1fr); gap: .3rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
figure { margin: 1rem 0; }
figure img { display: block; background: #fff; border-radius: 6px; padding: .3rem; max-width: 100%;
  height: auto; }
figcaption { color: var(--soft); font-size: .85rem; margin-top: .2rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .35rem .8rem; margin: .6rem 0; }
summary { cursor: pointer; }
pre { background: var(--shade); padding: .7rem; border-radius: 6px; font-size: .8rem; overflow-x: auto; }
code { font-size: .85em; overflow-wrap: anywhere; }
@media (max-width: 40rem) { body { font-size: 15px; } figure img { max-width: none; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
@media print { :root { --ink: #000; --soft: #444; --paper: #fff; --line: #bbb; --shade: #f4f4f4; }
  nav, a.skip { display: none; } main, header { max-width: none; padding: 0; }
  figure, table, ul.verdicts li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .wide { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .2rem .35rem; }
  figure img { max-width: 100%; padding: 0; } }
"""
