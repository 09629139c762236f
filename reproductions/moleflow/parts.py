"""The parts of the model as torch-free entries: flow, branches, adapters, mixers and losses.

What is set at evaluation (routers, aggregations, maps) stands in `catalog.py`.
"""

from mechlab.systems import Entry

ROOM = "reproductions.moleflow"


def part(name: str, summary: str, source: str, target: str, row: str | None = None) -> Entry:
    """Return one part of MoLE-Flow; `row` is that of the inventory."""
    return Entry(name=name, id=row, summary=summary, source=source, target=target, system="moleflow")


LOSSES: tuple[Entry, ...] = (
    part("center-loss", "center_weight=W: W times mean |z|^2, which is a prior of variance 1 / (1 + 2 W)",
         "notes 004 L306", f"{ROOM}.losses:center_loss", "M6"),
    part("focal-published", "focal=published: as sketched; no bit changes at real NLLs, NaN below 0",
         "notes 004 L487", f"{ROOM}.focal:published_focal", "M8"),
    part("focal-relative", "focal=relative: weights within an image; gamma 0 is the NLL",
         "notes 004 L487, scaled by us", f"{ROOM}.focal:relative_focal", "M8"),
    part("reduction", "reduction=mean, sum, or published (a sum without a tail, a mean with one)",
         "notes 004 L332, L2292", f"{ROOM}.reduction:reduction_factor", "M46"),
)  # fmt: skip

BRANCHES: tuple[Entry, ...] = (
    part("lora-half", "lora_alpha=0.5, lora_first_task=false: scaling alpha / (2 r), none on task 0",
         "notes 004 L12", f"{ROOM}.flow.branch:LoRALinear", "M1"),
    part("instance-adapter", "adapter=instance-mlp: channels standardised over an image, a network from zero",
         "notes 004 L7", f"{ROOM}.instance_mlp:InstanceAdapter", "M1"),
    part("sc-lora", "branch=sc-lora: a grid of factors, bilinear by place; a constant grid is plain LoRA",
         "notes 004 L152", f"{ROOM}.flow.branch:GridLoRALinear", "M4"),
    part("task-linear", "branch=linear: a Linear a task, nothing shared; 2.47 x main's numbers (15 tasks)",
         "notes 004 L3779", f"{ROOM}.flow.branch:TaskLinear", "M30"),
    part("task-flow", "base=per-task: a whole flow a task; 2.94 x main's numbers (15 tasks)",
         "notes 004 L3780", f"{ROOM}.assembly:coupling_blocks", "M30"),
    part("spectral-norm", "spectral_norm=true: the largest singular value of every base is 1",
         "notes 004 L3782", f"{ROOM}.flow.branch:UnitNorm", "M30"),
)  # fmt: skip

ADAPTERS: tuple[Entry, ...] = (
    part("film-adapter", "adapter=film: scale, shift and a network; task 0 gives 0.9 x + 0.1 f(x)",
         "notes 004 L72", f"{ROOM}.film:FiLMAdapter", "M3"),
    part("identity-regulariser", "identity_weight: pulls task 0 to factors 1 and shifts 0; 0 there",
         "notes 004 L888", f"{ROOM}.adapter:WhiteningAdapter", "M11"),
    part("no-layer-norm", "adapter=whitening-no-ln: bounded factors alone; a patch keeps its length",
         "notes 004 L2118", f"{ROOM}.adapter:WhiteningAdapter", "M11"),
    part("context-gate-published", "subnet=gated-published: all zero at the start, so it stays one number",
         "notes 004 L562", f"{ROOM}.flow.gate:PatchGate", "M10"),
    part("context-gate", "subnet=gated: a gate of each patch on its context; 0.5 at first, then by patch",
         "notes 004 L562, corrected", f"{ROOM}.flow.gate:PatchGate", "M10"),
)  # fmt: skip

FLOWS: tuple[Entry, ...] = (
    part("freia-block", "coupling=freia: FrEIA's block, bound to task and grid in each call; equal to ours",
         "FrEIA 0.2, facts 1.2", f"{ROOM}.flow.freia_block:FreiaBlock", "M36"),
    part("fused-products", "products=fused: branches merged into their base; equal to rounding, and faster",
         "this repository", f"{ROOM}.flow.fused:merged"),
    part("precision", "precision=bf16 or tf32: of the products alone; log-dets stay exact, scores move",
         "this repository", "mechlab.train.precision:products"),
    part("cross-patch-coupling", "subnet=cpcf: context of the untouched half; invertible, exact log-det",
         "notes 004 L178, L259, corrected", f"{ROOM}.flow.cross_patch:CrossPatchSubnet", "M5"),
    part("cross-patch-sketch", "subnet=cpcf-sketch: as sketched; not a density, its log-det is refused",
         "notes 004 L178", f"{ROOM}.flow.cross_patch:CrossPatchSubnet", "M5"),
)  # fmt: skip

MIXERS: tuple[Entry, ...] = (
    part("patch-attention", "mixer=attention: one head over all patches; one patch gets its own value back",
         "notes 004 L373", f"{ROOM}.attention:PatchAttention", "M7"),
    part("patch-interaction", "mixer=interaction: what a patch differs by from its neighbours (chosen here)",
         "notes 004 L476", f"{ROOM}.interaction:PatchInteraction", "M49"),
    part("multi-scale-context", "mixer=multi-scale: dilations 1, 2, 4; refused beside adapter=whitening",
         "notes 004 L942, L996", f"{ROOM}.multi_scale:MultiScaleMixer", "M12"),
    part("task-multi-scale-context", "mixer=task-multi-scale: the same, a gate a task (chosen here)",
         "notes 004 L1450", f"{ROOM}.multi_scale:TaskMultiScaleMixer", "M49"),
    part("task-adaptive-mixer", "mixer=task-adaptive: each task gates and scales one mixer; gate 0 is x",
         "notes 004 L2434", f"{ROOM}.task_mixer:TaskAdaptiveMixer", "M21"),
    part("global-context", "mixer=global: attention to region means; a constant image stays constant",
         "notes 004 L2466", f"{ROOM}.global_context:GlobalContext", "M22"),
    part("semantic-projector", "mixer=semantic: permuting patches permutes the output",
         "notes 004 L2501", f"{ROOM}.semantic:SemanticProjector", "M23"),
)  # fmt: skip

PLACES: tuple[Entry, ...] = (
    part("relative-position", "position=relative: attention in a window by offsets; shifts with the patches",
         "notes 004 L2709", f"{ROOM}.relative_place:RelativePlacing", "M24"),
    part("content-position", "position=content: where training patches like it stood; knows no grid",
         "notes 004 L3091, chosen here", f"{ROOM}.content_place:ContentPlacing", "M26"),
    part("hybrid-position", "position=hybrid: hybrid_share of the grid's embedding, else the content's",
         "notes 004 L3091, chosen here", f"{ROOM}.content_place:ContentPlacing", "M26"),
    part("tape", "position=tape: a strength of the embedding a task, trained at 100 x the rate",
         "notes 004 L3103, L3233", f"{ROOM}.placing:TaskStrength", "M27"),
    part("rotation", "rotation=180 or 90: training images turned to either side, drawn anew each epoch",
         "notes 004 L3457", "mechlab.train.drawn:DrawnBatches", "M28"),
    part("turned-position", "position_turns=true: the embedding turns with its image, so the two commute",
         "notes 004 L3552", f"{ROOM}.position:turned_embedding", "M28"),
    part("stn", "align=stn: a network tells an angle, the features are turned by it; 0 at the start",
         "notes 004 L3628, on features", f"{ROOM}.alignment:Alignment", "M29"),
)  # fmt: skip

SCORERS: tuple[Entry, ...] = (
    part("dual-branch", "scorer=dual: passes with and without position, weighed by patch",
         "notes 004 L2722, corrected", f"{ROOM}.dual_branch:LatentTrust", "M24"),
    part("dual-branch-bounded", "scorer=dual-bounded: weights in 0.3 to 0.9, 0.72 at the start",
         "notes 004 L2893, corrected", f"{ROOM}.dual_branch:LatentTrust", "M25"),
    part("dual-branch-guided", "scorer=dual-guided: more weight to the pass that finds a patch more normal",
         "notes 004 L2940, corrected", f"{ROOM}.dual_branch:ScoreTrust", "M25"),
    part("local-consistency", "consistency=local: an isolated peak loses more than a cluster as high",
         "notes 004 L2709, corrected", f"{ROOM}.consistency:LocalConsistency", "M24"),
    part("multi-scale-consistency", "consistency=multi-scale: kernels 3, 5 and 7, blended by the image",
         "notes 004 L2987, corrected", f"{ROOM}.consistency:LocalConsistency", "M25"),
    part("scorer-behind-the-loss", "a scorer with margin_weight=0, as published: nothing ever moves it",
         "notes 004 L2734, L3050", f"{ROOM}.scorer:Scorer", "M24"),
    part("margin-loss", "margin_weight=W: damaged patches shall rise above themselves by a margin",
         "notes 004 L2651", f"{ROOM}.margin:margin_loss", "M33"),
    part("cutpaste", "pseudo_anomaly=cutpaste: a piece of the image pasted elsewhere, with its mask",
         "notes 004 L2660, Li et al. 2021", "reproductions.datasets.augmentation:cut_and_pasted", "M44"),
    part("feature-jitter", "pseudo_anomaly=jitter: noise on the features of a rectangle, with its mask",
         "notes 004 L2660", "mechlab.train.drawn:DrawnBatches", "M44"),
)  # fmt: skip

DRIFT_PARTS: tuple[Entry, ...] = (
    part("shared-mixer", "mixer_trains=every-task: the mixer trains on, and earlier tasks' scores change",
         "notes 004 L1492", f"{ROOM}.scopes:scope_of", "M16"),
    part("shared-context", "context_trains=every-task: so do context convolutions and their weights",
         "notes 004 L1876", f"{ROOM}.scopes:scope_of", "M17"),
    part("slow-stage", "slow_blocks=K: later tasks then train the last K shared blocks; earlier ones drift",
         "notes 004 L774, L6318, facts 2", f"{ROOM}.staging:stage_of", "M39"),
    part("projection-published", "projection=sequential: gradients, one basis after the other; a rest stays",
         "notes 004 L1179", f"{ROOM}.projection:Projection", "M14"),
    part("projection", "projection=joint: whole steps, orthogonal to the union of all bases to 1e-6",
         "notes 004 L1179, corrected", f"{ROOM}.projection:Projection", "M14"),
    part("projection-hook", "projection=hook: gradients as they arrive, off the union of all bases",
         "notes 004 L1451, chosen here", f"{ROOM}.projection:Projection", "M49"),
    part("ewc", "ewc_weight=W: a pull by Fisher information to where earlier tasks left it; 0 there",
         "notes 004 L1451; Kirkpatrick et al. 2017", f"{ROOM}.consolidation:consolidation_penalty", "M32"),
    part("distillation", "distillation_weight=W: earlier experts keep their outputs; 0 for equal models",
         "notes 004 L1451; Li & Hoiem 2018", f"{ROOM}.distillation:distillation_loss", "M32"),
    part("replay-bank", "replay_images=N: at most N images of all earlier tasks, seen again",
         "notes 004 L1445", f"{ROOM}.replay:remember_images", "M32"),
)  # fmt: skip

MATCHING: tuple[Entry, ...] = (
    part("score-matching", "dsm=full: the gradient of log p is taught by noise; alpha 1 is the NLL",
         "notes 004 L4096; Vincent 2011", f"{ROOM}.score_matching:full_loss", "M31"),
    part("sliced-score-matching", "dsm=sliced: one directional derivative; its mean over draws is dsm=full",
         "notes 004 L4004, corrected", f"{ROOM}.score_matching:sliced_loss", "M31"),
    part("score-matching-schedule", "dsm_alpha, dsm_alpha_last: weight of the NLL; 0 is score matching alone",
         "notes 004 L4072", f"{ROOM}.score_matching:nll_share", "M31"),
    part("score-matching-noise", "dsm_noise=geometric, uniform or fixed: sigma between its two ends",
         "notes 004 L4160", f"{ROOM}.score_matching:noise_for", "M31"),
    part("clean-penalty", "dsm_clean_weight=W: the squared score without noise; chosen here",
         "notes 004 L4160", f"{ROOM}.score_matching:matching_loss", "M31"),
)  # fmt: skip

MODEL_PARTS: tuple[Entry, ...] = (
    *(*FLOWS, *ADAPTERS, *MIXERS, *BRANCHES, *LOSSES),
    *(*PLACES, *SCORERS),
    *(*DRIFT_PARTS, *MATCHING),
)
