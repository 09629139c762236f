"""The whole page: summary, runs, probes, provenance; one file that loads nothing from anywhere.

Source: design notes, command table (`report`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

from figures.page import detector_section, overview, run_section
from figures.page.content import DetectorContent, ReportContent, RunContent
from figures.page.look import STYLE
from figures.page.markup import Markup, element, folded, joined
from figures.page.probe_section import probe_section
from mechlab.errors import MechlabError
from mechlab.files import write_text
from mechlab.result import Result, plain

# Even a page that was tampered with by a class name could load and run nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_VIEWPORT = "width=device-width, initial-scale=1"


def report(content: ReportContent) -> str:
    """Return the page as HTML; equal content gives equal text."""
    groups = overview.arms(content.runs)
    body = element(
        "body",
        [
            element("a", "Skip to the summary", attributes={"class": "skip", "href": "#summary"}),
            element("header", element("h1", content.title)),
            _contents(content, groups),
            element("main", joined([
                _summary(content),
                run_section.index(groups),
                detector_section.index(content.detectors, first=len(content.runs)),
                *(probe_section(result, at=at) for at, result in enumerate(content.results)),
                _provenance(content),
            ])),
        ],
    )  # fmt: skip
    page = element("html", [_head(content.title), body], attributes={"lang": "en"})
    return "<!DOCTYPE html>\n" + page + "\n"


def write(content: ReportContent, *, out: Path) -> None:
    """Write the page, whole or not at all; a name that does not end in .html is a MechlabError."""
    if out.suffix.lower() not in {".html", ".htm"}:
        raise MechlabError(f"a report cannot be written as '{out.name}'; give a file ending in .html.")
    write_text(out, report(content))


def _head(title: str) -> Markup:
    return element(
        "head",
        [
            element("meta", attributes={"charset": "utf-8"}),
            element("meta", attributes={"http-equiv": "Content-Security-Policy", "content": _POLICY}),
            element(
                "meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}
            ),
            element("meta", attributes={"name": "generator", "content": "mechlab"}),
            element("title", title),
            element("style", Markup(STYLE)),
        ],
    )


def _contents(content: ReportContent, groups: Sequence[Sequence[RunContent]]) -> Markup:
    links, at = [("summary", "Summary")], 0
    for group in groups:
        links.append((f"run-{at}", f"Run {group[0].name}"))
        at += len(group)
    links += [(f"run-{place}", f"Run {run.name}") for place, run in enumerate(content.detectors, at)]
    for place, result in enumerate(content.results):
        links.append((f"probe-{place}", result.probe.replace("_", " ").capitalize()))
    links.append(("provenance", "Provenance"))
    items = [element("li", element("a", text, attributes={"href": f"#{place}"})) for place, text in links]
    return element("nav", element("ul", items), attributes={"aria-label": "Contents"})


def _summary(content: ReportContent) -> Markup:
    parts: list[object] = [element("h2", "Summary"), _what_was_run(content)]
    if content.results:
        parts += [element("h3", "Verdicts"), overview.verdicts(content.results)]
    if content.runs:
        parts += [element("h3", "Runs"), overview.runs_table(content.runs)]
    if content.detectors:
        parts += [element("h3", "Detectors"), detector_section.overview(content.detectors)]
    return element("section", parts, attributes={"id": "summary"})


def _what_was_run(content: ReportContent) -> Markup:
    told = detector_section.sentences(content.detectors)
    return overview.what_was_run(content.runs, content.results, more=told)


def _provenance(content: ReportContent) -> Markup:
    parts: list[object] = [element("h2", "Provenance")]
    runs: list[RunContent | DetectorContent] = [*content.runs, *content.detectors]
    for run in runs:
        shown = {"spec": run.spec, "provenance": run.provenance}
        parts.append(folded(f"Run {run.name}", [_document(shown)]))
    for result in content.results:
        parts.append(folded(f"Probe {result.probe}", [_document(_origin(result))]))
    if len(parts) == 1:
        parts.append(element("p", "Nothing was given to this page."))
    return element("section", parts, attributes={"id": "provenance"})


def _origin(result: Result) -> dict[str, object]:
    return {"inputs": result.inputs, "plan_hash": result.plan_hash, "post_hoc": result.post_hoc,
            "provenance": result.provenance}  # fmt: skip


def _document(value: object) -> Markup:
    return element(
        "pre", element("code", json.dumps(plain(value), indent=1, ensure_ascii=False, default=str))
    )
