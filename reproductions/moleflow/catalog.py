"""What MoLE-Flow offers, as torch-free lists: the system, its presets, its parts."""

from mechlab.systems import Entry
from reproductions.moleflow.combinations import COMBINATIONS, refuse_unbuildable
from reproductions.moleflow.config import NEEDS
from reproductions.moleflow.founding import FOUNDING
from reproductions.moleflow.own_config import OVERRIDABLE
from reproductions.moleflow.parts import MODEL_PARTS, ROOM, part
from reproductions.moleflow.presets import PRESETS
from reproductions.moleflow.task_names import is_given

__all__ = [
    "COMBINATIONS",
    "CONFIG",
    "FOUNDING",
    "IS_GIVEN",
    "NEEDS",
    "OVERRIDABLE",
    "PARTS",
    "PRESETS",
    "REFUSE",
    "SIZES_BY_TASK",
    "SYSTEM",
]

IS_GIVEN = is_given
REFUSE = refuse_unbuildable
SIZES_BY_TASK = True  # what a task has of its own is built for its grid (`grids.py`)

CONFIG = f"{ROOM}.config:MoLEFlowConfig"

SYSTEM = Entry(
    name="moleflow",
    id="S1",
    summary="a coupling flow over frozen patch features, with LoRA and a small flow a task, and a router",
    source="notes 004 L2571, L6162",
    target=f"{ROOM}.system:MoLEFlow",
)


PARTS: tuple[Entry, ...] = (
    *MODEL_PARTS,
    part("sine-position", "position=sine: a 2-D sine embedding added to the features; none switches it off",
         "notes 004 L2579", f"{ROOM}.position:sine_embedding", "M37"),
    part("place-condition", "position=condition: the same embedding given to the subnets instead",
         "Gudovskiy et al., WACV 2022", f"{ROOM}.position:sine_embedding"),
    part("whitening-adapter", "adapter=whitening: each patch standardised, then a bounded scale and shift",
         "notes 004 L849", f"{ROOM}.adapter:WhiteningAdapter", "M11"),
    part("affine-adapter", "adapter=diagonal or covariance: a whitening fitted to training normals",
         "Kessy, Lewin & Strimmer 2018; Defard et al. 2020", f"{ROOM}.adapter:AffineAdapter"),
    part("context-mixer", "mixer=depthwise: a share of the neighbourhood, trained with the first task",
         "notes 004 L1492", f"{ROOM}.mixer:ContextMixer"),
    part("coupling-flow", "blocks=N: affine coupling blocks, shared and frozen after the first task",
         "FrEIA 0.2, AllInOneBlock", f"{ROOM}.flow.coupling:CouplingBlock"),
    part("context-subnet", "subnet=context: the scale of a patch also sees its neighbours, bounded",
         "notes 004 L562", f"{ROOM}.flow.subnet:ContextSubnet", "M9"),
    part("lora", "lora_rank=R: low-rank branches of every Linear, one a task, scaled by alpha / rank",
         "notes 004 L30", f"{ROOM}.flow.subnet:LoRALinear", "M2"),
    part("dia", "dia_blocks=N: a small flow of the task's own behind the shared one, identity at the start",
         "notes 004 L1014", f"{ROOM}.flow.dia:DIABlock", "M13"),
    part("tail-loss", "tail_weight, tail_ratio: more weight on each image's worst patches",
         "notes 004 L2367", f"{ROOM}.losses:tail_loss", "M19"),
    part("given-base", "--base-from RUN: what tasks share comes from another run, frozen from task 0",
         "notes 004 L1676", "mechlab.train.given:take_base", "M43"),
    part("class-starts", "starts=classes: draws come from a task's classes; on a given base no order matters",
         "notes 004 L1676", f"{ROOM}.starts:numbers", "M43"),
    part("task-overrides", "--task CLASS:key=value: adapter, DIA, loss, rate and sigma of one task",
         "notes 004 L2670, L3603", f"{ROOM}.own_config:own_configs", "M42"),
    part("task-resolution", "--task CLASS:image_size=N: pixels and grid of a task; routing keeps the run's",
         "notes 004 L2670", f"{ROOM}.grids:Grids", "M42"),
    part("log-det-penalty", "log_det_weight: times the mean squared log-det of a patch",
         "notes 004 L4810", f"{ROOM}.losses:log_det_penalty", "M20"),
    part("router", "router=mahalanobis, euclidean or oracle: the task of an image from its mean feature",
         "notes 004 L1373, L7002", f"{ROOM}.routing:TaskStatistics", "M15"),
    part("two-stage-router", "router=two-stage:K: the K nearest tasks, then likelihood; K = 1 is mahalanobis",
         "notes 004 L1373", "mechlab.train.routing:likelihood_distances", "M15"),
    part("prototype-router", "router=prototypes:P: the nearest of P prototypes of a task; P = 1 is euclidean",
         "notes 004 L7003", "mechlab.train.routing:prototype_distances", "M48"),
    part("entropy-router", "router=entropy, or BASE+W*entropy: of the latents by each expert; W = 0 is BASE",
         "notes 004 L7003", f"{ROOM}.routing:latent_entropy", "M48"),
    part("gate-router", "router=gate, or gate:sequential: softmax regression; learned in sequence it forgets",
         "notes 004 L7003", "mechlab.stats.gate:Gate", "M48"),
    part("reject-option", "router=BASE/reject:A: farther than that share of held-out normals is of no task",
         "notes 004 L7020", "mechlab.train.rejection:accepting", "M48"),
    part("ensemble", "evaluate or score RUN RUN...: mean of the runs' z-scores; one run is that run",
         "notes 004 L4460", "mechlab.metrics.ensemble:combined", "M45"),
    part("log-det-router", "router=mahalanobis+W*log_det: the Gaussian decision rule; W = 0 is mahalanobis",
         "notes 004 L7003", f"{ROOM}.routing:TaskStatistics", "M48"),
    part("aggregation", "aggregation=max, mean, top_k, percentile or top_k_percent of an image's patches",
         "notes 004 L1957, L2403", "mechlab.metrics.aggregation:aggregate", "M18"),
    part("spatial-cluster", "aggregation=spatial_cluster: top 10 and more where high patches stand together",
         "notes 004 L2403", "mechlab.metrics.clustering:cluster_ratio", "M18"),
    part("attention-aggregation", "aggregation=attention:S: weights that follow the scores; 0 is the mean",
         "notes 004 L2621", "mechlab.metrics.attention:attended", "M33"),
    part("adaptive-aggregation", "aggregation=adaptive: a strength a task, tuned on pseudo-anomalies",
         "notes 004 L2621, L2660", "mechlab.train.adaptation:tuned_strengths", "M33"),
    part("orientations", "orientations=four: scores averaged over quarter turns of the features",
         "notes 004 L3091, corrected", "mechlab.train.orientations:oriented_scores", "M26"),
    part("orientations-placed", "orientations=four-placed: turned with their position, which moves no patch",
         "notes 004 L3091", f"{ROOM}.scoring:turned_scores", "M26"),
    part("score-calibration", "calibration=task: z-scores by a task's training normals: their mean 0, sd 1",
         "notes 004 L2615", "mechlab.metrics.calibration:Calibration", "M33"),
    part("map-smoothing", "sigma=S: bilinear upsampling and a Gaussian over the map, in pixels",
         "notes 004 L4587", "mechlab.metrics.maps:smooth", "M38"),
    part("stream", "--stream BASE-INCREMENT, --order NAME: each class in one task, e.g. 14-1, hard-first",
         "notes 004 L5013", "mechlab.runs.stream:divided", "M34"),
    part("map-mixture", "sigma=0.6*2+0.4*4: Gaussians added by weight; sigma=4,screw=2: a width for a class",
         "notes 004 L4587", "mechlab.metrics.smoothing:Smoothing", "M38"),
)  # fmt: skip
