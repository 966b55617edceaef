"""The laws side by side: coefficients with intervals, what each misses, and where they part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import laws, numbers
from pipeline.report.canvas import Canvas, Dash
from pipeline.report.evaluation import words
from pipeline.report.figure import Figure, draw
from pipeline.report.ladder import Ladder, abscissa_words, file_name, ladder_of
from pipeline.report.palette import ACCENT, INK, MUTED, SECOND, THIRD, Colour
from pipeline.report.section import Block, Fold, Heading, Note, Points, Section, Table
from pipeline.report.sources import Sources
from pipeline.report.studied import FORMS, Study

NAME, TITLE = "forms", "The laws side by side"
STYLES: Mapping[str, tuple[Colour, Dash, str]] = {
    "log-linear": (SECOND, "-", "o"),
    "power": (ACCENT, (0, (6, 2)), "s"),
    "offset-power": (THIRD, (0, (1.5, 1.5)), "^"),
}
READING = (
    "Fitted to all runs. The typical miss is the root mean square distance of a run. A law is chosen by its "
    "error on the second largest size, which took no part in that fit, and not by how well it fits."
)
DODGE = (0.965, 1.0, 1.036)  # so that markers of laws that agree do not hide each other


def section(sources: Sources) -> Section:
    """Return the section; none where nothing is fitted."""
    study = sources.study
    if not study or not study.fits:
        return Section(name=NAME, title=TITLE)
    arms = [arm for arm in study.ladders if not arm["is_main"]]
    blocks: list[Block] = []
    if main := ladder_of(study):
        blocks += drawn(main, study.fits, (study.found("noise") or {}).get("value"))
    blocks += [_table(study.fits, study.choice), Note(READING)]
    for arm in arms:
        if (ladder := ladder_of(study, arm)) and ladder.all and (fits := study.fits_of(arm)):
            blocks.append(Heading(f"Arm {arm['name']}: {arm['words']}"))
            blocks += drawn(ladder, fits, arm["noise"]["value"], arm=arm["name"])
            blocks.append(_table(fits, study.choice_of(arm)))
    blocks += surface(study)
    if warned := list(_warnings(study)):
        blocks.append(Fold("What to beware of in these fits", [Points(warned)]))
    return Section(name=NAME, title=TITLE, blocks=blocks)


def surface(study: Study) -> list[Block]:
    """Return the laws of parameters and tokens together, where the study has them."""
    found = study.found("surface")
    if not found:
        return []
    named = {form: study.files.get(file.removesuffix(".json")) for form, file in found["fits"].items()}
    blocks: list[Block] = [Heading("Parameters and tokens together"), numbers.typeset(found["words"])]
    if fits := {form: fit for form, fit in named.items() if fit}:
        blocks.append(_table(fits, None))
    if found.get("warnings"):
        blocks.append(Points(found["warnings"]))
    why = [f"{form}: {reason}" for form, reason in (found.get("why_not") or {}).items()]
    return [*blocks, Note("Not fitted: " + "; ".join(why) + ".")] if why else blocks


def drawn(ladder: Ladder, fits: Mapping[str, Any], noise: float | None, arm: str = "") -> list[Block]:
    """Return the laws through the points, and what each leaves of them; nothing where no point is."""
    if not ladder.all:
        return []
    return [_figure(ladder, fits, arm), _residuals(ladder, fits, noise, arm)]


def _table(fits: Mapping[str, Any], choice: Any) -> Table:
    """Return a row for each coefficient; what is of the whole law is said once. `choice` may be None."""
    left_out = {each["form"]: each["relative_error"] for each in (choice or {}).get("candidates", ())}
    rows: list[tuple[str, ...]] = []
    for form, fit in fits.items():
        chosen = " (chosen)" if choice and form == choice["chosen"] else ""
        miss = numbers.number((fit["rss"] / fit["n"]) ** 0.5 if fit.get("n") else None, 3)
        state = numbers.count(fit.get("n")) if fit.get("converged") else "did not converge"
        error = (numbers.percent(left_out.get(form), 2),) if choice else ()
        named, whole = (form + chosen, laws.FORMULAS.get(form, "")), (state, miss, *error)
        for name, value in fit["coefficients"].items():
            bounds = numbers.interval(fit["intervals"].get(name), 3)
            rows.append((*named, name, numbers.number(value), bounds, *whole))
            named, whole = ("", ""), ("",) * len(whole)
    error_head = ("error on the second largest",) if choice else ()
    head = ("law", "formula", "coefficient", "value", "95 % interval", "points", "typical miss", *error_head)
    return Table(head=head, rows=rows, labels=3)


def _warnings(study: Study) -> list[str]:
    said = [f"{form}: {line}" for form, fit in study.fits.items() for line in fit.get("warnings", ())]
    for name, fit in study.files.items():
        if name not in FORMS and isinstance(fit, dict):
            said += [f"{name}: {line}" for line in fit.get("warnings") or ()]
    return said


def _figure(ladder: Ladder, fits: Mapping[str, Any], arm: str) -> Figure:
    grid = laws.spaced(min(ladder.xs) / 1.1, max(ladder.xs) * 3)

    def paint(canvas: Canvas) -> None:
        canvas.log_counts("x", grid[0], grid[-1])
        canvas.axes.set_xlabel(f"{abscissa_words(ladder.abscissa)}, logarithmic")
        canvas.axes.set_ylabel(words(ladder.metric))
        for form, fit in fits.items():
            colour, dash, _ = STYLES.get(form, (MUTED, "-", "o"))
            if ys := laws.line(form, fit["coefficients"], grid):
                canvas.line(form, grid, ys, colour, dash=dash)
        names = [name for *_, name in ladder.all]
        values = [value for _, value, _ in ladder.all]
        canvas.points("run", ladder.xs, values, INK, names=names, size=6, quiet=True)
        canvas.legend()

    return draw(
        file_name("laws", arm),
        paint,
        title="The laws through the same points" + (f", arm {arm}" if arm else ""),
        description=f"The laws {', '.join(fits)} fitted to all sizes and drawn to three times the largest.",
        caption="The laws fitted to all runs, drawn to three times the largest size. "
        "Where they part is what these sizes cannot tell.",
        heights=(400, 340),
    )


def _residuals(ladder: Ladder, fits: Mapping[str, Any], noise: float | None, arm: str) -> Figure:
    """Draw what each law leaves of each run, side by side at every size."""

    def paint(canvas: Canvas) -> None:
        low, high = min(ladder.xs) / 1.25, max(ladder.xs) * 1.25
        canvas.log_counts("x", low, high)
        if noise:
            canvas.band("noise of one run", [low, high], [-noise] * 2, [noise] * 2, MUTED)
        canvas.level("the law itself", 0.0, quiet=True)
        for place, (form, fit) in enumerate(fits.items()):
            colour, _, marker = STYLES.get(form, (MUTED, "-", "o"))
            law = laws.line(form, fit["coefficients"], ladder.xs)
            left = [value - y for (_, value, _), y in zip(ladder.all, law, strict=False)]
            xs = [x * DODGE[place % 3] for x in ladder.xs[: len(left)]]
            names = [name for *_, name in ladder.all][: len(left)]
            canvas.points(form, xs, left, colour, names=names, marker=marker, size=5.5)
        canvas.axes.set_xlabel(f"{abscissa_words(ladder.abscissa)}, logarithmic")
        canvas.axes.set_ylabel("measured less law")
        canvas.legend()

    shade = " The band is the scatter of one run." if noise else ""
    return draw(
        file_name("residuals", arm),
        paint,
        title="What the laws leave" + (f", arm {arm}" if arm else ""),
        description=f"Residuals of {', '.join(fits)} at every size.",
        caption=f"What is measured less what each law says, run by run: a law that holds leaves no pattern."
        f"{shade} Markers of one run stand side by side.",
        heights=(320, 310),
    )
