"""Routers in words: one canonical form, and one sentence for what cannot be."""

import pytest

from mechlab.errors import MechlabError
from mechlab.runs.router import Router
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import validated


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        ("mahalanobis", "mahalanobis"),
        ("oracle", "oracle"),
        ("two-stage", "two-stage:2:mahalanobis"),
        ("two-stage:3", "two-stage:3:mahalanobis"),
        ("two-stage:1:euclidean", "two-stage:1:euclidean"),
        ("prototypes", "prototypes:3"),
        ("prototypes:5 + 0.50*entropy", "prototypes:5+0.5*entropy"),
        ("mahalanobis+log_det", "mahalanobis+1*log_det"),
        ("mahalanobis+0*log_det", "mahalanobis"),
        ("likelihood+2*entropy", "likelihood+2*entropy"),
        ("gate", "gate:joint"),
        ("gate:sequential+0*entropy", "gate:sequential"),
        ("mahalanobis / reject:0.050", "mahalanobis/reject:0.05"),
        ("two-stage:3/reject:0.1", "two-stage:3:mahalanobis/reject:0.1"),
        ("euclidean+1*entropy/reject:0", "euclidean+1*entropy"),
    ],
)
def test_equal_words_have_one_form_that_reads_back(words, canonical):
    assert str(Router.read(words)) == canonical
    assert str(Router.read(canonical)) == canonical
    assert EvaluationSettings(router=words).router == canonical


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("mahalonobis", "Did you mean 'mahalanobis'"),
        ("", "no router named ''"),
        ("two-stage:0", "has '0' for a number"),
        ("two-stage:x", "has 'x' for a number"),
        ("two-stage:2:oracle", "no first stage of a router named 'oracle'"),
        ("two-stage:2:euclidean:7", "has a part that nothing reads, '7'"),
        ("euclidean:2", "has a part that nothing reads, '2'"),
        ("prototypes:1.5", "has '1.5' for a number"),
        ("prototypes:2:2", "has a part that nothing reads, '2'"),
        ("mahalanobis+1*logdet", "Did you mean 'log_det'"),
        ("mahalanobis+x*log_det", "has no weight of 0 or more"),
        ("mahalanobis+-1*log_det", "has no weight of 0 or more"),
        ("euclidean+1*log_det", "cannot add 'log_det' to 'euclidean'"),
        ("two-stage+1*entropy", "cannot add 'entropy' to 'two-stage'"),
        ("entropy+1*entropy", "cannot add 'entropy' to 'entropy'"),
        ("oracle+1*entropy", "cannot add 'entropy' to 'oracle'"),
        ("gate:replayed", "no way for a gate to learn named 'replayed'"),
        ("gate:joint:3", "has a part that nothing reads, '3'"),
        ("oracle/reject:0.1", "cannot reject: the oracle has no distances"),
        ("mahalanobis/rejects:0.1", "Did you mean 'reject'"),
        ("mahalanobis/reject", r"rejects no share of normals in \[0, 1\)"),
        ("mahalanobis/reject:1", r"rejects no share of normals in \[0, 1\)"),
        ("mahalanobis/reject:x", r"rejects no share of normals in \[0, 1\)"),
    ],
)
def test_other_words_are_refused(words, sentence):
    with pytest.raises(MechlabError, match=sentence):
        validated(EvaluationSettings, {"router": words}, what="evaluation")
