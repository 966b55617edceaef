"""What the links say of each stored page, its karma: joined once for all, read a WARC file at a time."""

from __future__ import annotations

from pathlib import Path

from pipeline.formats.publish import publishing

_MEMORY = "2GB"  # beyond it duckdb spills: the links may be tens of millions


def join_votes(dataset: Path, target: Path) -> None:
    """Write `target` (Parquet, ordered by WARC file): the karma of every page that a crawl stored."""
    import duckdb

    with publishing(target) as draft:
        spill = {"memory_limit": _MEMORY, "temp_directory": str(target.parent / "spill")}
        with duckdb.connect(config=spill) as database:
            database.execute("SET enable_progress_bar = false")
            relation = database.sql(
                "SELECT warc, canonical_url, karma_max, karma_sum FROM read_parquet($1) AS stored "
                "JOIN read_parquet($2) AS links USING (canonical_url) WHERE warc IS NOT NULL ORDER BY warc",
                params=[str(dataset / "pages" / "fetch-log.parquet"), str(dataset / "links" / "*.parquet")],
            )
            relation.write_parquet(str(draft))


def votes_of(table: Path, warc: str) -> dict[str, tuple[int, int]]:
    """Return the highest and the summed karma of the pages in one WARC file, by canonical URL."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as database:
        rows = database.execute(
            "SELECT canonical_url, karma_max, karma_sum FROM read_parquet(?) WHERE warc = ?",
            [str(table), warc],
        ).fetchall()
    return {url: (int(highest), int(total)) for url, highest, total in rows}
