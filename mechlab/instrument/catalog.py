"""What can be recorded: the quantities and the reductions each of them takes. Loads no torch.

Source: design notes, "Site" and "Quantity"; Goodfellow 2015 (arXiv:1510.01799) for row contributions.
"""

from mechlab.systems import Entry

_ROOM = "mechlab.instrument"
_NOTES = "design notes, Quantity"

QUANTITIES: tuple[Entry, ...] = (
    Entry(
        name="activation",
        summary="output of a module, as it is at the end of its forward pass",
        source=_NOTES,
        target=f"{_ROOM}.activation:ActivationTap",
    ),
    Entry(
        name="latent",
        summary="output of a flow block or of the whole flow, patch by patch",
        source=_NOTES,
        target=f"{_ROOM}.activation:ActivationTap",
    ),
    Entry(
        name="log_det",
        summary="additive log-det term of a block, nats a patch; only an image's sum is a determinant",
        source=_NOTES,
        target=f"{_ROOM}.log_det:LogDetTap",
    ),
    Entry(
        name="row_contribution",
        summary="norm of each row's term in the gradient of a layer's weight, under a loss; Linear and Conv",
        source="arXiv:1510.01799",
        target=f"{_ROOM}.row_contribution:RowContributionTap",
    ),
    Entry(
        name="patch_gradient_norm",
        summary="the same number where rows are independent: the norm of one row's own gradient",
        source="arXiv:1510.01799",
        target=f"{_ROOM}.row_contribution:RowContributionTap",
    ),
    Entry(
        name="sample_gradient_norm",
        summary="norm of one image's summed terms in the gradient of a layer's weight",
        source="arXiv:1510.01799, arXiv:1912.06015",
        target=f"{_ROOM}.sample_gradient:SampleGradientTap",
    ),
    Entry(
        name="row_cosine",
        summary="cosines between the terms of evenly spaced rows in the gradient of a layer's weight",
        source="arXiv:1510.01799",
        target=f"{_ROOM}.row_cosine:RowCosineTap",
    ),
    Entry(
        name="gradient_cosine",
        summary="cosine of a parameter's gradient with its gradient at the step recorded before",
        source=_NOTES,
        target=f"{_ROOM}.gradient_cosine:GradientCosineTap",
    ),
    Entry(
        name="input_gradient",
        summary="norm of d loss / d (a site's output), patch by patch",
        source="moleflow analysis, gradient concentration",
        target=f"{_ROOM}.input_gradient:InputGradientTap",
    ),
    Entry(
        name="gradient",
        summary="gradient of a parameter as backward accumulated it, before clipping",
        source=_NOTES,
        target=f"{_ROOM}.gradient:GradientTap",
    ),
    Entry(
        name="update",
        summary="what the optimiser did to a parameter in a step",
        source="numerics notes, Cockpit's UpdateSize",
        target=f"{_ROOM}.update:UpdateTap",
    ),
    Entry(
        name="weight",
        summary="value of a parameter",
        source=_NOTES,
        target=f"{_ROOM}.weight:WeightTap",
    ),
    Entry(
        name="weight_delta",
        summary="value of a parameter minus a reference value",
        source=_NOTES,
        target=f"{_ROOM}.weight:WeightTap",
    ),
    Entry(
        name="score",
        summary="image and patch anomaly scores with label, routed task and mask; from a checkpoint",
        source=_NOTES,
        target=f"{_ROOM}.offline:record_checkpoint",
    ),
    Entry(
        name="image",
        summary="trivial statistics of the raw images (grey levels), which need no model; from a run",
        source="inventory P37",
        target=f"{_ROOM}.session:record_run",
    ),
)

# "norm": Euclidean, over the channel axis of activations and over all elements of parameters (float64);
# "moments": mean and variance; "covariance": centred, of channels; "quantiles": of all elements;
# "subsample:k": k evenly spaced places of an image; "sum": over the patches of an image (float64); "total":
# root of the squares summed over every matched parameter.
_OF_OUTPUTS = ("norm", "moments", "covariance", "quantiles", "subsample")
_OF_PARAMETERS = ("norm", "moments", "quantiles")
REDUCTIONS: dict[str, tuple[str, ...]] = {
    "activation": _OF_OUTPUTS,
    "latent": _OF_OUTPUTS,
    "log_det": ("sum",),
    "row_contribution": ("total",),
    "patch_gradient_norm": ("total",),
    "sample_gradient_norm": ("total",),
    "row_cosine": (),
    "gradient_cosine": (),
    "input_gradient": (),
    "gradient": _OF_PARAMETERS,
    "update": _OF_PARAMETERS,
    "weight": _OF_PARAMETERS,
    "weight_delta": _OF_PARAMETERS,
    "score": (),
    "image": (),
}
