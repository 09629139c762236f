import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from figures.page.content import ReportContent
from figures.page.report import report, write
from mechlab.errors import MechlabError

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, the text, and whether every element is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split()).replace("\u00a0", " ")


@pytest.fixture
def page(make_run, make_result):
    def make(runs=None, results=None, title="A report"):
        content = ReportContent(
            title=title,
            runs=(make_run(),) if runs is None else runs,
            results=(make_result(),) if results is None else results,
        )
        return Page(report(content))

    return make


def test_the_page_is_well_formed_and_names_its_language(page):
    made = page()
    assert made.open == []
    assert made.of("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in made.of("meta")
    assert any(meta.get("name") == "viewport" for meta in made.of("meta"))
    assert len(made.of("h1")) == len(made.of("main")) == 1


def test_the_page_loads_nothing_from_anywhere(make_run, make_result):
    text = report(ReportContent(title="A report", runs=(make_run(),), results=(make_result(),)))
    made = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "video", "audio"} & {
        tag for tag, _ in made.elements
    }
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)) == []
    assert "url(" not in text and "@import" not in text
    for _, attributes in made.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    (policy,) = (meta["content"] for meta in made.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_images_are_whole_and_told_in_words(page):
    images = page().of("img")
    assert len(images) == 5
    for image in images:
        kind, data = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", image["src"]).groups()
        start = b"<?xml" if kind == "svg+xml" else b"\x89PNG"
        assert base64.b64decode(data, validate=True).startswith(start)
        assert len(image["alt"]) > 40


def test_every_link_leads_somewhere_and_every_id_is_there_once(page):
    made = page()
    ids = [attributes["id"] for _, attributes in made.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in made.of("a")} <= set(ids)


def test_headers_of_tables_say_what_they_head(page):
    made = page()
    assert all(head.get("scope") in {"col", "row"} for head in made.of("th"))
    assert len(made.of("caption")) == len(made.of("table")) > 0


@pytest.mark.parametrize(
    "evil", [EVIL, '"><img src=x onerror=alert(1)>', "'; --", "&lt;b&gt;", "</style><b>"]
)
def test_no_name_can_become_markup(page, make_run, make_result, evil):
    run = make_run((evil, "weave"), name=evil, spec={evil: [evil]}, provenance={"host": evil},
                   trivial={evil: {evil: 1.0}})  # fmt: skip
    run = replace(run, examples=tuple(replace(one, defect=evil) for one in run.examples))
    result = make_result(hypothesis=evil, decision_rule=evil, reason=evil, unit=evil, inputs=(evil,),
                         post_hoc=(evil,), tables={evil: ({evil: evil},)})  # fmt: skip
    plain = page(runs=(make_run(),), results=(make_result(tables={"a": ({"b": "c"},)}, post_hoc=("x",)),))
    made = page(runs=(run,), results=(result,), title=evil)
    assert made.open == []
    assert {tag for tag, _ in made.elements} == {tag for tag, _ in plain.elements}
    assert len(made.of("img")) == len(plain.of("img"))
    assert evil in " ".join(made.words)
    for _, attributes in made.elements:
        assert not [name for name in attributes if name.startswith("on")]


def test_text_that_is_escaped_already_is_escaped_again_not_trusted(page, make_result):
    made = page(results=(make_result(hypothesis="&lt;b&gt;"),))
    assert "&lt;b&gt;" in made.text


def test_a_trivial_statistic_stands_beside_every_image_auroc(page, make_run):
    made = page(runs=(make_run(),), results=())
    assert made.text.count("mean alone") == 1
    assert "image AUROC best trivial statistic" in made.text
    assert "where the best trivial statistic of each class has 0.600" in made.text


def test_a_class_that_a_trivial_statistic_solves_is_warned_of(page, make_run):
    text = page(runs=(make_run(trivial={"gear": {"mean": 1.0}}),)).text
    assert "this class cannot show that the model works" in text


def test_a_probe_is_told_completely(page, make_result):
    text = page(results=(make_result(tables={"classes": ({"class_name": "screw", "p_holm": 0.0125},)}),)).text
    for part in ("A trivial statistic tells", "supported if the interval lies", "supported: the mean on screw",
                 "0.875 [0.812, 0.938]", "image AUROC", "0.562 [0.5, 0.625] (permutation: labels)",
                 "n = 80 images, the unit is the image", "trivial_auroc = 0.75", "Table: classes", "0.0125",
                 "moleflow-1/recordings/2"):  # fmt: skip
        assert part in text, part


def test_an_undecided_probe_names_the_n_that_would_decide(page, make_result):
    bare = make_result(verdict="undecided", effect=None, interval=None, n_to_decide=140)
    assert "n = 140 would decide" in page(results=(bare,)).text
    lost = replace(bare, n_to_decide=None)
    assert "no number of replicates is known that would decide" in page(results=(lost,)).text


def test_a_threshold_that_was_changed_afterwards_is_called_post_hoc(page, make_result):
    made = page(results=(make_result(post_hoc=("trivial_auroc: planned 0.75, used 0.7",)),))
    assert "Post hoc: the rule was changed" in made.text


def test_a_probe_without_figure_is_told_in_words(page, make_result):
    made = page(runs=(), results=(make_result("third_party"),))
    assert "No figure is named third_party." in made.text
    assert made.of("img") == []


def test_seeds_of_one_arm_are_summarised_with_an_interval(page, make_run):
    runs = [make_run(seed=seed) for seed in range(3)]
    for at, run in enumerate(runs):
        for name in run.metrics:
            run.metrics[name]["image_auroc"] = 0.90 + 0.01 * at
    made = page(runs=tuple(runs), results=())
    assert "mean of 3 seeds" in made.text
    assert "0.910 [0.885, 0.935]" in made.text  # 0.01 * 4.303 / sqrt(3)
    assert len(made.of("img")) == 4  # the figures of the first seed
    assert made.text.count("another seed of the run above") == 2


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(page, make_run):
    other = make_run(seed=1, spec={"system": "moleflow", "seed": 1, "parts": {"rank": 8}})
    made = page(runs=(make_run(), other), results=())
    assert "mean of" not in made.text
    assert len(made.of("img")) == 8


def test_an_empty_page_says_that_it_is_empty(page):
    text = page(runs=(), results=()).text
    assert "No run is part of this page." in text and "No probe is part of this page." in text


def test_equal_content_gives_equal_pages(make_run, make_result):
    one, other = (
        report(ReportContent(title="A report", runs=(make_run(),), results=(make_result(),)))
        for _ in range(2)
    )
    assert one == other


def test_a_page_is_written_whole_and_only_as_html(make_result, tmp_path):
    content = ReportContent(title="A report", results=(make_result(),))
    write(content, out=tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text() == report(content)
    with pytest.raises(MechlabError, match=r"give a file ending in \.html"):
        write(content, out=tmp_path / "report.docx")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["report.html"]


def test_long_tables_are_cut_and_say_so(page, make_result):
    rows = tuple({"dim": at} for at in range(300))
    made = page(runs=(), results=(make_result("third_party", tables={"dims": rows}),))
    assert "100 more rows are in the file of the result" in made.text
