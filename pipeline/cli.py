"""The `loglinear` command: parses, calls one function, prints for people and returns exit codes."""

import errno
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from launch.process import end_with_launcher
from launch.rank import reporting
from launch.secrets import redacted, show_failure
from launch.stopping import Held
from pipeline.errors import LoglinearError
from pipeline.stages import STAGES, load_stage, verb_of

app = typer.Typer(
    name="loglinear",
    help="From links to a scaling report: build a corpus, train GPT-1 and GPT-2, evaluate, fit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path, typer.Argument(help="A YAML file; folder = schema, for example configs/data/.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Laid over the file: optim.lr=6e-4.", show_default=False),
]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Print configuration, plan and job script; touch nothing.")
]
On = Annotated[
    Path | None, typer.Option("--on", metavar="LAUNCH.yaml", help="Run elsewhere: configs/launch/*.yaml.")
]
After = Annotated[
    list[str] | None, typer.Option("--after", metavar="JOB|DIR", help="Wait in the queue for this job.")
]


def main() -> None:
    """Run the command line; known failures end with their message and exit code, without a traceback."""
    from pipeline import log  # after the arguments are known to be wanted: `--help` stays quick

    # Training saves its work when it is asked to stop: from here on, however long it takes to start.
    with Held() if sys.argv[1:2] in (["train"], ["finetune"]) else nullcontext(), reporting() as farewell:
        log.configure()
        end_with_launcher()
        sys.excepthook = show_failure
        code, message = _run()
        message = redacted(message)
        code = farewell(code, message)
        if message:
            print(message, file=sys.stderr)
        sys.exit(code)


def _run() -> tuple[int, str]:
    """Run the command and return its exit code, and what is to be said of a failure."""
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        return (1, end.code) if isinstance(end.code, str) else (end.code or 0, "")
    except LoglinearError as failure:
        return failure.exit_code, str(failure)
    except KeyboardInterrupt:
        return 1, "interrupted; the same command goes on from here"
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        name = failure.filename or "disk"
        return 1, f"{name}: no space left; finished work is intact: free some and run again"
    return 0, ""


@app.command(epilog="Example: loglinear quickstart --out runs/quickstart")
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
) -> None:
    """Go the whole road here: pages, links, corpus, a ladder of GPTs, fits, OUT/report.html."""
    from pipeline.quickstart.road import run

    print(run(out))


@app.command(epilog="Example: loglinear data configs/data/webtext.yaml out=data/webtext --until dedup")
def data(
    config: ConfigFile,
    overrides: Overrides = None,
    only: Annotated[str | None, typer.Option("--only", metavar="PHASE", help="Run this phase alone.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="PHASE", help="Stop after this phase.")
    ] = None,
    dry_run: Dry = False,
    on: On = None,
    after: After = None,
) -> None:
    """Build a dataset: links, fetch, extract, filter, dedup, decontaminate, tokenize, publish."""
    options = {name: value for name, value in {"only": only, "until": until}.items() if value}
    _stage("data", config, overrides, dry_run, on, after, **options)


def _add_stage(verb: str, told: str, example: str) -> None:
    """Add the command of a stage."""

    @app.command(verb, help=told, epilog=f"Example: loglinear {verb} {example}")
    def command(
        config: ConfigFile,
        overrides: Overrides = None,
        dry_run: Dry = False,
        on: On = None,
        after: After = None,
    ) -> None:
        _stage(verb, config, overrides, dry_run, on, after)


_add_stage(
    "train",
    "Pretrain a model on a dataset; the same command again continues.",
    "configs/train/gpt2-117m.yaml data=data/webtext out=runs/gpt2-117m",
)
_add_stage(
    "evaluate",
    "Score a checkpoint; every figure with its standard error.",
    "configs/evaluate/quickstart.yaml checkpoint=runs/x data=data/webtext",
)
_add_stage(
    "finetune",
    "Fine-tune a checkpoint on a labelled dataset, several seeds; the same command again continues.",
    "configs/finetune/rte.yaml checkpoint=runs/x data=data/finetune",
)
_add_stage(
    "study",
    "Plan a ladder of models, train what is missing, evaluate, fit, report.",
    "configs/study/quickstart.yaml data=data/webtext out=studies/ladder",
)


@app.command(epilog="Example: loglinear fit points.csv --form power --value loss --out fit.json")
def fit(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE.csv", help="One row per point.", show_default=False)
    ],
    form: Annotated[str, typer.Option(help="A form: see `loglinear ls forms`.")],
    value: Annotated[str, typer.Option(help="The column to be explained.")],
    out: Annotated[Path, typer.Option(help="Where the fit goes.")],
    x: Annotated[str | None, typer.Option("--x", help="The abscissa; by default the params column.")] = None,
    params: Annotated[str, typer.Option(help="The column of parameter counts.")] = "params",
    tokens: Annotated[str, typer.Option(help="The column of training tokens.")] = "tokens",
    flops: Annotated[str, typer.Option(help="The column of training FLOPs.")] = "flops",
    weights: Annotated[str | None, typer.Option(help="A column of weights.")] = None,
    where: Annotated[
        str | None, typer.Option(help='A SQL condition that keeps rows: "flops < 1e21".')
    ] = None,
    drop_highest: Annotated[int, typer.Option(help="Drop the K rows with the highest values first.")] = 0,
    loss: Annotated[
        str | None, typer.Option(help="mse, mse-log or huber-log; the default follows the form.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(help="Resamples for the intervals; 0 for the analytic ones.")] = 0,
    hold_out: Annotated[
        str | None, typer.Option(help="`largest` or a SQL condition: predicted, not fitted.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Fit one table of points, with intervals, to a form."""
    from pipeline.study.fit import FitRequest, run_fit

    request = FitRequest(
        table=table, form=form, value=value, x=x, params=params, tokens=tokens, flops=flops, weights=weights,
        where=where, drop_highest=drop_highest, loss=loss, bootstrap=bootstrap, hold_out=hold_out, seed=seed,
    )  # fmt: skip
    print(run_fit(request, out))


@app.command(epilog="Example: loglinear plan configs/train/gpt2-117m.yaml hardware.gpu=H100 hardware.count=8")
def plan(config: ConfigFile, overrides: Overrides = None) -> None:
    """Print what a training run, or a study with all of its runs, comes to before anything is spent."""
    stage, loaded = load_stage(verb_of(config, overrides), config, overrides)
    print(stage.describe(loaded, stage.plan(loaded)))


@app.command(epilog='Example: loglinear sample runs/gpt2-117m "The cat" --top-k 40 --stop "The end"')
def sample(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="A run, a checkpoint, or Hugging Face's or OpenAI's folder.", show_default=False),
    ],
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PROMPT]...", help="Texts to go on from; none or empty for a new document."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Texts for each prompt.")] = 1,
    tokens: Annotated[int, typer.Option(help="New tokens at most.")] = 100,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Sample among the k most likely.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Sample among the smallest set with this probability.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this; more than one may be given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
) -> None:
    """Continue texts, printed as they come."""
    from pipeline.evaluate.sample import show

    pieces = show(
        checkpoint, prompts or [""], samples=samples, max_new_tokens=tokens, temperature=temperature,
        top_k=top_k, top_p=top_p, stop=stop or [], seed=seed,
    )  # fmt: skip
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


@app.command(epilog="Example: loglinear export runs/gpt2-117m --to exported")
def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="A run, a checkpoint, or a folder of OpenAI's release.", show_default=False)
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder.")],
) -> None:
    """Write a checkpoint's model out as a folder that transformers loads."""
    from pipeline.evaluate.export import export as run

    print(run(checkpoint, to))


@app.command(epilog="Example: loglinear report runs/quickstart")
def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A dataset, run, study, quickstart or results.", show_default=False
        ),
    ],
) -> None:
    """Write DIR/report.html from the files that are there."""
    from pipeline.report.page import write

    print(write(directory))


@app.command(epilog="Example: loglinear show train configs/train/gpt2-117m.yaml optim.lr=1e-3")
def show(
    verb: Annotated[str, typer.Argument(help=" | ".join(STAGES), show_default=False)],
    config: ConfigFile,
    overrides: Overrides = None,
) -> None:
    """Print the resolved configuration, where each value came from, and the plan."""
    from pipeline.show import provenance

    stage, loaded = load_stage(verb, config, overrides)
    print(provenance(loaded, config, overrides or ()))
    print(stage.describe(loaded, stage.plan(loaded)))


@app.command(epilog="Example: loglinear status runs/gpt2-117m")
def status(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A dataset, a run or a study.", show_default=False)
    ],
) -> None:
    """Tell what a job does and how far it is."""
    from pipeline.show import status as tell

    print(tell(directory))


@app.command(epilog="Example: loglinear stop runs/gpt2-117m")
def stop(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
) -> None:
    """Ask a run to save a checkpoint and end; it goes on when started again."""
    from pipeline.queued import stop as ask

    print(ask(run))


@app.command(name="ls", epilog="Example: loglinear ls filters")
def list_kinds(
    what: Annotated[
        str, typer.Argument(help="filters, tasks, engines, launchers, forms, models ...", show_default=False)
    ],
) -> None:
    """List the choices there are, one line each."""
    from pipeline.show import choices

    print(choices(what))


@app.command(epilog="Example: loglinear doctor --on configs/launch/torchrun-nodes.yaml")
def doctor(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where data and runs would go.")
    ] = Path(),
    on: On = None,
) -> None:
    """Tell what works on this machine, or on all nodes, and the remedy for what does not."""
    from pipeline.doctor import healthy, told
    from pipeline.nodes import examined

    findings = examined(directory, on)
    print(told(findings))
    raise typer.Exit(0 if healthy(findings) else 1)


def _stage(
    verb: str,
    config: Path,
    overrides: list[str] | None,
    dry_run: bool,
    on: Path | None,
    after: list[str] | None,
    **options: Any,
) -> None:
    """Load, plan and run a stage; here, or as a job elsewhere."""
    stage, loaded = load_stage(verb, config, overrides)
    if on and verb in ("data", "study"):
        from pipeline.elsewhere import with_jobs_there

        loaded, on, there = with_jobs_there(verb, loaded, on, after or ())
        options |= there
    if dry_run:
        from pipeline.config import dump

        print(dump(loaded))
        print(stage.describe(loaded, stage.plan(loaded)))
        if "queue" in options:
            print(stage.script(loaded, stage.plan(loaded), options["queue"]))
    if on:
        from pipeline.elsewhere import send

        print(send(verb, loaded, options, on, dry_run, after or ()))
    elif not dry_run:
        told = stage.run(loaded, stage.plan(loaded), **options)
        if told:
            print(told)
        if verb in ("data", "study"):
            from pipeline.report.page import renew

            renew(Path(loaded.out))
