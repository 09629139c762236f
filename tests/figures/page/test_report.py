import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from figures.page.content import ReportContent
from figures.page.report import report, write
from mechlab.errors import MechlabError

VOID = {"meta", "img", "br", "hr"}
UNDRAWN = {"examples": (), "scores": {}, "accuracy_matrix": (), "log": ()}
EVIL = ["<script>alert('x')</script>", '"><img src=x onerror=alert(1)>', "'; --", "</style><b>"]


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
def page():
    def make(*, runs=(), results=(), title="A report"):
        return Page(report(ReportContent(title=title, runs=tuple(runs), results=tuple(results))))

    return make


@pytest.fixture
def full(make_run, make_result):
    """The text of a page with every kind of part and figure."""
    return report(ReportContent(title="A report", runs=(make_run(),), results=(make_result(),)))


@pytest.fixture
def bare(make_result):
    """A result whose probe has no figure, so that its section is text alone."""

    def make(**changes):
        return make_result("third_party", **changes)

    return make


def test_the_page_is_whole_and_loads_nothing_from_anywhere(full):
    made = Page(full)
    assert made.open == []
    assert made.of("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in made.of("meta")
    assert any(meta.get("name") == "viewport" for meta in made.of("meta"))
    assert len(made.of("h1")) == len(made.of("main")) == 1
    loading = {"script", "link", "iframe", "object", "embed", "base", "form", "video", "audio"}
    assert not loading & {tag for tag, _ in made.elements}
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", full)) == []
    assert "url(" not in full and "@import" not in full
    for _, attributes in made.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#").startswith("#")
    (policy,) = (meta["content"] for meta in made.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_images_links_and_tables_are_whole_and_told_in_words(full):
    made = Page(full)
    assert len(made.of("img")) == 5
    for shown in made.of("img"):
        kind, data = re.fullmatch(r"data:image/(svg\+xml|png);base64,(.+)", shown["src"]).groups()
        start = b"<?xml" if kind == "svg+xml" else b"\x89PNG"
        assert base64.b64decode(data, validate=True).startswith(start)
        assert len(shown["alt"]) > 40
    ids = [attributes["id"] for _, attributes in made.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in made.of("a")} <= set(ids)
    assert all(head.get("scope") in {"col", "row"} for head in made.of("th"))
    assert len(made.of("caption")) == len(made.of("table")) > 0


def test_equal_content_gives_equal_pages(full, make_run, make_result):
    assert report(ReportContent(title="A report", runs=(make_run(),), results=(make_result(),))) == full


def tampered(make_run, result, text, **changes):
    """A run and a result in which every text of a user is `text`."""
    run = make_run(
        (text, "weave"),
        name=text,
        spec={text: [text]},
        provenance={"host": text},
        trivial={text: {text: 1.0}},
        **changes,
    )
    run = replace(run, examples=tuple(replace(one, defect=text) for one in run.examples))
    words = dict.fromkeys(("hypothesis", "decision_rule", "reason", "unit"), text)
    many = dict.fromkeys(("inputs", "post_hoc"), (text,))
    return run, replace(result, tables={text: ({text: text},)}, **words, **many)


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_can_become_markup(page, make_run, bare, evil):
    pages = []
    for text in ("plain", evil):
        run, result = tampered(make_run, bare(), text, **UNDRAWN)
        pages.append(page(runs=[run], results=[result]))
    plain, made = pages
    assert made.open == []
    assert [tag for tag, _ in made.elements] == [tag for tag, _ in plain.elements]
    assert [set(attributes) for _, attributes in made.elements] == [
        set(attributes) for _, attributes in plain.elements
    ]
    assert made.words.count(evil) >= 6


def test_no_text_of_a_figure_can_become_markup(page, make_run, make_result):
    run, result = tampered(make_run, make_result(), EVIL[1])
    made = page(runs=[run], results=[result], title=EVIL[0])
    assert len(made.of("img")) == 5
    assert "script" not in {tag for tag, _ in made.elements}
    assert all(set(shown) <= {"src", "alt", "width"} for shown in made.of("img"))
    assert EVIL[0] in made.words


def test_the_rule_by_which_examples_were_chosen_is_told(page, make_run):
    rule = "Of each kind the image of median score."
    run = make_run(examples_rule=rule, scores={}, accuracy_matrix=(), log=())
    assert f"one colour scale a class. {rule} Data " in page(runs=[run]).text


def test_text_that_looks_escaped_is_not_trusted(page, bare):
    assert "&lt;b&gt;" in page(results=[bare(hypothesis="&lt;b&gt;")]).text


def test_a_trivial_statistic_stands_beside_every_image_auroc(page, make_run):
    made = page(runs=[make_run(**UNDRAWN)])
    assert made.text.count("mean alone") == 1
    assert "image AUROC best trivial statistic" in made.text
    assert "where the best trivial statistic of each class has 0.600" in made.text


def test_a_class_that_a_trivial_statistic_solves_is_warned_of(page, make_run):
    text = page(runs=[make_run(trivial={"gear": {"mean": 1.0}}, **UNDRAWN)]).text
    assert "this class cannot show that the model works" in text


@pytest.mark.parametrize(
    "part",
    [
        "A trivial statistic tells",
        "supported if the interval lies",
        "supported: the mean on screw",
        "0.875 [0.812, 0.938]",
        "image AUROC",
        "0.562 [0.5, 0.625] (permutation: labels)",
        "n = 80 images, the unit is the image",
        "trivial_auroc = 0.75",
        "Table: classes",
        "0.0125",
        "moleflow-1/recordings/2",
        "Plan hash 0123456789ab",
    ],
)
def test_a_probe_is_told_completely(page, bare, part):
    classes = ({"class_name": "screw", "p_holm": 0.0125},)
    assert part in page(results=[bare(tables={"classes": classes})]).text


def test_an_undecided_probe_names_the_n_that_would_decide(page, bare):
    result = bare(verdict="undecided", effect=None, interval=None, n_to_decide=140)
    assert "n = 140 would decide" in page(results=[result]).text
    lost = replace(result, n_to_decide=None)
    assert "no number of replicates is known that would decide" in page(results=[lost]).text


def test_a_threshold_that_was_changed_afterwards_is_called_post_hoc(page, bare):
    made = page(results=[bare(post_hoc=("trivial_auroc: planned 0.75, used 0.7",))])
    assert "Post hoc: the rule was changed" in made.text


def test_a_probe_without_figure_is_told_in_words(page, bare):
    made = page(results=[bare()])
    assert "No figure is named third_party." in made.text
    assert made.of("img") == []


def test_seeds_of_one_arm_are_summarised_with_an_interval(page, make_run):
    runs = [make_run(seed=seed, examples=(), accuracy_matrix=(), log=()) for seed in range(3)]
    for at, run in enumerate(runs):
        for name in run.metrics:
            run.metrics[name]["image_auroc"] = 0.90 + 0.01 * at
    made = page(runs=runs)
    assert "mean of 3 seeds" in made.text
    assert "0.910 [0.885, 0.935]" in made.text  # 0.01 * 4.303 / sqrt(3)
    assert len(made.of("img")) == 1  # the figure of the first seed
    assert made.text.count("another seed of the run above") == 2


def test_an_interval_of_shares_ends_at_one_and_equal_seeds_have_none(page, make_run):
    runs = [make_run(seed=seed, **UNDRAWN) for seed in range(3)]
    for at, run in enumerate(runs):
        for name in run.metrics:
            run.metrics[name]["image_auroc"] = 1.0 - 0.05 * (at == 0)
    text = page(runs=runs).text
    assert "0.983 [0.912, 1.000] 0.600 0.970" in text


def test_runs_that_differ_in_more_than_the_seed_are_not_averaged(page, make_run):
    other = make_run(seed=1, spec={"system": "moleflow", "seed": 1, "parts": {"rank": 8}}, **UNDRAWN)
    made = page(runs=[make_run(**UNDRAWN), other])
    assert "mean of" not in made.text
    assert len(made.of("section")) == 4  # summary, two runs, provenance


def test_an_empty_page_says_that_it_is_empty(page):
    text = page().text
    assert "No run is part of this page." in text and "No probe is part of this page." in text


def test_long_tables_are_cut_and_say_so(page, bare):
    rows = tuple({"dim": at} for at in range(300))
    assert "100 more rows are in the file of the result" in page(results=[bare(tables={"dims": rows})]).text


def test_a_page_is_written_whole_and_only_as_html(bare, tmp_path):
    content = ReportContent(title="A report", results=(bare(),))
    write(content, out=tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text() == report(content)
    with pytest.raises(MechlabError, match=r"give a file ending in \.html"):
        write(content, out=tmp_path / "report.docx")
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["report.html"]


def test_the_null_on_random_weights_has_a_sentence_of_its_own(page, make_run):
    specs = [{"seed": 0, "features": [{"weights": weights}]} for weights in ("abc", "random-0")]
    model = make_run(name="model", spec=specs[0], mean={"image_auroc": 0.9}, **UNDRAWN)
    null = make_run(name="null", spec=specs[1], mean={"image_auroc": 0.6}, **UNDRAWN)
    text = page(runs=[model, null]).text
    assert "Run null, on random backbone weights" in text
    assert "mean image AUROC 0.900" in text and "mean image AUROC 0.600" in text
    assert "mean image AUROC 0.750" not in text
