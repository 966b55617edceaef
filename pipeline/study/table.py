"""Reads a CSV of points: columns by name, rows by an SQL condition, every bad cell named with its place."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipeline.errors import ConfigError
from pipeline.study.form import Array, Mask

ROW = "loglinear_row"  # our own column: the row's number in the file, from 1


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of the table play which part."""

    value: str
    x: str | None = None
    params: str = "params"
    tokens: str = "tokens"
    flops: str = "flops"
    weights: str | None = None

    @property
    def counts(self) -> dict[str, str]:
        """The three parts of C = 6*N*D and the columns that hold them."""
        return {"params": self.params, "tokens": self.tokens, "flops": self.flops}


@dataclass(frozen=True, kw_only=True)
class Points:
    """The rows that are fitted, and what may be said of them."""

    inputs: Array  # (n, k), in the order the law names them
    values: Array  # (n,)
    weights: Array | None  # (n,)
    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def take(self, rows: Mask) -> Points:
        """Return the points where `rows` (n,) is true."""
        return replace(
            self,
            inputs=self.inputs[rows],
            values=self.values[rows],
            weights=None if self.weights is None else self.weights[rows],
            names=tuple(n for n, kept in zip(self.names, rows, strict=True) if kept),
        )


class Table:
    """One CSV file in memory; close it, or use it in a `with`."""

    def __init__(self, path: Path, columns: Columns):
        """Read the file; ConfigError where it is no CSV with a header or lacks a column."""
        self._path, self._columns = path, columns
        self._header = _header(path)
        self._connection = duckdb.connect(config={"threads": 1})
        self.warnings: tuple[str, ...] = ()
        try:
            self._connection.execute(
                f"CREATE TABLE points AS SELECT row_number() OVER () AS {ROW}, * FROM "
                "read_csv(?, header=true, delim=',', sample_size=-1, strict_mode=true)",
                [str(path)],
            )
        except duckdb.Error as fault:
            raise ConfigError(f"{path}: not a readable CSV: {_first_line(fault)}") from None
        # Conditions come from a command line: they may look at the table and at nothing else.
        self._connection.execute("SET enable_external_access=false; SET lock_configuration=true")
        self._require([name for part, name in columns.counts.items() if name != part])
        self._add_counts()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def abscissa(self) -> str:
        """The column that plays x."""
        return self._columns.x or "params"

    def drop_highest(self, count: int) -> None:
        """Drop the rows with the `count` highest values, and those that tie with the last of them."""
        self._require([self._columns.value])
        value = f"try_cast({_quoted(self._columns.value)} AS DOUBLE)"
        ranked = self._query(f"SELECT {value} FROM points WHERE {value} IS NOT NULL ORDER BY 1 DESC")
        if count >= len(ranked):
            raise ConfigError(
                f"{self._path}: --drop-highest {count}: the table has only {len(ranked)} values"
            )
        bar = ranked[count - 1][0]
        dropped = sum(row[0] >= bar for row in ranked)
        self._query(f"DELETE FROM points WHERE {value} >= ?", [bar])
        if dropped > count:
            self.warnings += (
                f"--drop-highest {count} dropped {dropped} rows: {dropped - count} tie at {bar:g}",
            )

    def keep(self, condition: str) -> None:
        """Drop the rows where the SQL condition does not hold; ConfigError where none is left."""
        rows = self._matching("--where", condition)
        if not rows:
            raise ConfigError(f"{self._path}: --where {condition!r}: no row is left; loosen the condition")
        self._query(f"DELETE FROM points WHERE {ROW} NOT IN (SELECT unnest(?))", [sorted(rows)])

    def points(self, inputs: Sequence[str], *, positive_inputs: bool, positive_values: bool) -> Points:
        """Return the rows as numbers; ConfigError lists every cell that is not one that can be fitted."""
        names = [self.abscissa if name == "x" else name for name in inputs]
        wanted = [*names, self._columns.value, *([self._columns.weights] if self._columns.weights else [])]
        self._require(wanted)
        self._refuse_duplicates()
        above_zero = {
            *(names if positive_inputs else ()),
            *([self._columns.weights] if self._columns.weights else []),
        }
        above_zero |= {self._columns.value} if positive_values else set()
        label = _quoted("name") if "name" in self._header else "NULL"
        selected = ", ".join(f"CAST({_quoted(name)} AS VARCHAR)" for name in wanted)
        rows = self._query(f"SELECT {ROW}, {label}, {selected} FROM points ORDER BY {ROW}")
        problems: list[str] = []
        numbers = [
            [
                self._number(row[0], name, cell, name in above_zero, problems)
                for name, cell in zip(wanted, row[2:], strict=True)
            ]
            for row in rows
        ]
        if problems:
            raise ConfigError(
                problems[:20] + ([f"... and {len(problems) - 20} more"] if problems[20:] else [])
            )
        table = np.array(numbers, dtype=float).reshape(len(rows), len(wanted))
        return Points(
            inputs=table[:, : len(names)],
            values=table[:, len(names)],
            weights=table[:, -1] if self._columns.weights else None,
            names=tuple(str(row[1]) if row[1] is not None else f"row {row[0]}" for row in rows),
            warnings=self.warnings,
        )

    def held_out(self, what: str, points: Points) -> Mask:
        """Return which of the points are held out (n,): the `largest`, or those where a condition holds."""
        if what == "largest":
            size = points.inputs[:, -1] if points.inputs.shape[1] == 1 else points.inputs.prod(axis=1)
            return np.asarray(size == size.max())
        matching = self._matching("--hold-out", what)
        order = [row[0] for row in self._query(f"SELECT {ROW} FROM points ORDER BY {ROW}")]
        held = np.array([row in matching for row in order], dtype=bool)
        if not held.any():
            raise ConfigError(f"{self._path}: --hold-out {what!r}: no row matches; loosen the condition")
        return held

    def _refuse_duplicates(self) -> None:
        """Raise ConfigError where rows are the same in every cell: a run counted twice looks more certain."""
        cells = ", ".join(_quoted(name) for name in self._header)
        rows = f"list({ROW} ORDER BY {ROW})"
        groups = self._query(f"SELECT {rows} FROM points GROUP BY {cells} ORDER BY {rows}")
        twice = [same for (same,) in groups if len(same) > 1]
        if twice:
            raise ConfigError(
                [
                    f"{self._path}: rows {', '.join(map(str, same))} are duplicates, the same in every cell; "
                    "remove all but one, or tell repeated runs apart in a column such as seed"
                    for same in twice[:20]
                ]
            )

    def _add_counts(self) -> None:
        """Name the parts of C = 6*N*D, and compute a missing third from the other two."""
        present = {part: name for part, name in self._columns.counts.items() if name in self._header}
        values = {part: f"try_cast({_quoted(name)} AS DOUBLE)" for part, name in present.items()}
        if len(present) == 2:
            (missing,) = set(self._columns.counts) - set(present)
            values[missing] = {
                "params": "{flops} / 6 / {tokens}",
                "tokens": "{flops} / 6 / {params}",
                "flops": "6 * {params} * {tokens}",
            }[missing].format(**values)
        for part, expression in values.items():
            if part not in self._header:
                alias = present.get(part)
                kind = "VARCHAR" if alias and self._is_text(alias) else "DOUBLE"
                self._query(f"ALTER TABLE points ADD COLUMN {part} {kind}")
                self._query(f"UPDATE points SET {part} = {_quoted(alias) if alias else expression}")
                self._header = (*self._header, part)

    def _is_text(self, column: str) -> bool:
        return bool(self._query(f"SELECT any_value(typeof({_quoted(column)})) = 'VARCHAR' FROM points")[0][0])

    def _require(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._header]
        if missing:
            has = ", ".join(self._header)
            options = "say which column it is with --value, --x, --params, --tokens, --flops or --weights"
            raise ConfigError(
                [f"{self._path}:1: no column {name!r}; {options} (there are {has})" for name in missing]
            )

    def _matching(self, option: str, condition: str) -> set[int]:
        try:
            return {row[0] for row in self._query(f"SELECT {ROW} FROM points WHERE ({condition}\n)")}
        except duckdb.Error as fault:
            columns = ", ".join(self._header)
            problem = f"not a condition on this table: {_first_line(fault)} (columns: {columns})"
            raise ConfigError(f"{self._path}: {option} {condition!r}: {problem}") from None

    def _number(
        self, row: int, column: str, cell: str | None, above_zero: bool, problems: list[str]
    ) -> float:
        place = f"{self._path}: row {row}, column {column!r}"
        remedy = f"correct it, or leave the row out with --where '{ROW} <> {row}'"
        if cell is None or not cell.strip():
            problems.append(f"{place}: the cell is empty; {remedy}")
            return math.nan
        try:
            number = float(cell)
        except ValueError:
            problems.append(f"{place}: {cell!r} is not a number; {remedy}")
            return math.nan
        if not math.isfinite(number):
            problems.append(f"{place}: {cell} is not a finite number; {remedy}")
        elif above_zero and number <= 0:
            problems.append(f"{place}: {cell} must be above zero; {remedy}")
        return number

    def _query(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(text, list(values)).fetchall())


def _header(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            ragged = [n for n, cells in enumerate(lines, 2) if cells and len(cells) != len(header)]
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read ({fault.strerror})") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: not UTF-8 text ({fault})") from None
    if ragged:
        places = ", ".join(map(str, ragged[:5]))
        raise ConfigError(
            f"{path}: not a readable CSV: line {places}: not {len(header)} cells, as the header"
        )
    if not header:
        raise ConfigError(f"{path}: empty; a table of points needs a header line and rows")
    # SQL does not tell names apart by case, so neither may the table.
    folded = [name.lower() for name in header]
    twice = sorted({name for name in header if folded.count(name.lower()) > 1})
    if twice:
        raise ConfigError(f"{path}:1: column names given twice: {', '.join(twice)}; rename them")
    return tuple(header)


def _quoted(name: str | None) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _first_line(fault: Exception) -> str:
    return str(fault).strip().splitlines()[0]
