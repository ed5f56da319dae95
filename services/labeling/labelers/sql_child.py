"""The child process that runs one SQL expression of a user, apart from everything else.

It is started as a plain file in isolated mode and imports nothing of Regrow. Before it reads anything it bounds its own
memory, processor time and file sizes. DuckDB can't reach files, the network or extensions, and its configuration is locked;
the columns that it sees are the only data there is. DuckDB's own memory limit doesn't hold for single functions, the
process's does. The parent ends it when a step takes too long.

Requests and answers are JSON objects, one a line. `check` parses the expression and answers which columns it reads; `vote`
evaluates it over an Arrow stream file and writes another.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

TABLE = "rows"
_OTHER_FUNCTIONS = (
    "if", "nullif", "split_part", "date_add", "fdiv", "fmod", "ifnull", "coalesce", "days_in_month", "array_to_string",
    "list_any_value", "list_append", "list_avg", "list_bool_and", "list_bool_or", "list_count", "list_first", "list_last",
    "list_max", "list_median", "list_min", "list_mode", "list_prepend", "list_product", "list_reverse", "list_sum",
    "list_string_agg",
)  # fmt: skip
_REFUSED_PREFIXES = ("__", "json_serialize", "json_deserialize", "current_", "parse_duckdb", "get_", "version", "age")
_REFUSED = {
    "SUBQUERY": "has a query inside. Write one expression over the row's columns",
    "WINDOW": "looks at other rows. Write one expression over the row's own columns",
    "STAR": "names columns by '*'. Name each column",
    "PARAMETER": "has a parameter. Write the value itself",
    "POSITIONAL_REFERENCE": "names a column by number. Write its name",
    "DEFAULT": "has DEFAULT, which means nothing here. Write the value itself",
}


class Refusal(Exception):
    """Says what is wrong with the expression; `position` counts its characters from 1."""

    def __init__(self, problem: str, position: int | None = None) -> None:
        super().__init__(problem)
        self.position = position


def bound(memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Bounds this process, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    # A Linux container without this limit still has the wall clock; macOS refuses RLIMIT_AS.
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def connected() -> Any:
    """DuckDB without files, network, extensions or Python variables, its configuration locked."""
    import duckdb

    connection = duckdb.connect(":memory:", config={"threads": 1})
    for setting in (
        "python_enable_replacements=false", "autoinstall_known_extensions=false",
        "autoload_known_extensions=false", "max_expression_depth=250", "TimeZone='UTC'", "enable_external_access=false",
        "lock_configuration=true",
    ):  # fmt: skip
        connection.execute(f"SET {setting}")
    return connection


def parsed(connection: Any, expression: str) -> dict[str, Any]:
    """The syntax tree of the one expression. Raises `Refusal`."""
    lead = "SELECT "
    answer = json.loads(connection.execute("SELECT json_serialize_sql(?)", [lead + expression]).fetchall()[0][0])
    if answer.get("error"):
        if "allocat" in str(answer.get("error_message")):
            raise MemoryError
        if answer.get("error_type") == "not implemented":
            raise Refusal("is more than an expression. Write what would stand after SELECT, without ';'")
        place = answer.get("position")
        at = None if place is None else int(place) - len(lead) + 1
        problem = str(answer.get("error_message", "syntax error"))
        raise Refusal("is nested too deeply" if "expression depth" in problem else f"can't be parsed: {problem}", at)
    statements = answer["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    bare = node.get("type") == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY"
    if not bare or node["modifiers"] or node["cte_map"]["map"]:
        raise Refusal("is more than an expression: leave out FROM, UNION, ORDER BY, LIMIT, DISTINCT and WITH")
    if any(node.get(clause) for clause in ("where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")):
        raise Refusal("is more than an expression: leave out WHERE, GROUP BY and the like; use CASE WHEN ... THEN ... END")
    if len(node["select_list"]) != 1:
        raise Refusal(f"is {len(node['select_list'])} expressions. Write one, without a comma between")
    if node["select_list"][0].get("alias"):
        raise Refusal("has a name (AS ...). Leave it out")
    found: dict[str, Any] = node["select_list"][0]
    return found


def columns_read(connection: Any, tree: dict[str, Any]) -> list[list[str]]:
    """The names of the columns that the expression reads, without those of lambdas. Raises `Refusal` for what isn't allowed."""
    scalar = connection.execute(
        "SELECT function_name FROM duckdb_functions() WHERE function_type = 'scalar' "
        "GROUP BY ALL HAVING bool_and(stability = 'CONSISTENT')"
    ).fetchall()
    allowed = {name.lower() for (name,) in scalar if not name.startswith(_REFUSED_PREFIXES)} | set(_OTHER_FUNCTIONS)
    return list(_walk(tree, allowed, frozenset()))


def _walk(node: Any, allowed: set[str], bound_names: frozenset[str]) -> Iterator[list[str]]:
    if isinstance(node, list):
        for child in node:
            yield from _walk(child, allowed, bound_names)
        return
    if not isinstance(node, dict):
        return
    kind = node.get("class")
    if kind in _REFUSED:
        raise Refusal(_REFUSED[kind], _position(node))
    if kind == "LAMBDA":
        inner = bound_names | {name.lower() for name in _names(node.get("lhs"))}
        yield from _walk(node.get("expr"), allowed, inner)
        return
    if kind == "COLUMN_REF" and node["column_names"][0].lower() not in bound_names:
        yield node["column_names"]
    if kind == "FUNCTION":
        _check_function(node, allowed)
    for child in node.values():
        yield from _walk(child, allowed, bound_names)


def _check_function(node: dict[str, Any], allowed: set[str]) -> None:
    name = str(node["function_name"]).lower()
    if name not in allowed:
        raise Refusal(
            f"calls {name}(), which isn't allowed. Use functions of the row's own values whose result is always the same: "
            "no aggregates, no files, no time of day, no chance",
            _position(node),
        )


def _names(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["column_names"][-1]] if node.get("class") == "COLUMN_REF" else []
        return own + [name for child in node.values() for name in _names(child)]
    return [name for child in node for name in _names(child)] if isinstance(node, list) else []


def _position(node: dict[str, Any]) -> int | None:
    place = int(node.get("query_location", 1 << 63))
    return place - len("SELECT ") + 1 if place < 1 << 62 else None


class Session:
    """Serves one expression."""

    def __init__(self) -> None:
        self._connection = connected()
        self._expression = ""
        self._query = ""

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Parses the expression, and answers its columns. Only one that passes is ever run."""
        expression = request["expression"]
        columns = columns_read(self._connection, parsed(self._connection, expression))
        self._expression = f"(\n{expression}\n)"
        return {"columns": columns}

    def bind(self, request: dict[str, Any]) -> dict[str, Any]:
        """Finds the expression's type over rows of a schema (an Arrow stream file without rows)."""
        import pyarrow as pa

        with pa.OSFile(request["input"]) as source, pa.ipc.open_stream(source) as reader:
            rows = reader.read_all()
        self._connection.register(TABLE, rows)
        described = self._connection.execute(f"DESCRIBE SELECT {self._expression} AS vote FROM {TABLE}").fetchall()
        kind, boolean = str(described[0][1]), request["boolean"]
        if boolean and kind not in ("BOOLEAN", "NULL", '"NULL"'):
            raise Refusal(f"answers {kind}, but with class_name set it must answer true, false or NULL")
        if not boolean and kind == "BOOLEAN":
            raise Refusal("answers true or false: set class_name, or answer class names by CASE WHEN ... THEN ... END")
        self._query = f"SELECT CAST({self._expression} AS {'BOOLEAN' if boolean else 'VARCHAR'}) AS vote FROM {TABLE}"
        return {}

    def vote(self, request: dict[str, Any]) -> dict[str, Any]:
        """Evaluates the expression batch by batch."""
        import pyarrow as pa

        with (
            pa.OSFile(request["input"]) as source,
            pa.ipc.open_stream(source) as reader,
            pa.OSFile(request["output"], "wb") as sink,
        ):
            writer = None
            for batch in reader:
                rows = pa.Table.from_batches([batch])
                self._connection.register(TABLE, rows)
                votes = self._connection.sql(self._query).to_arrow_table()
                if votes.num_rows != rows.num_rows:
                    raise Refusal("doesn't answer once per row")
                writer = writer or pa.ipc.new_stream(sink, votes.schema)
                writer.write_table(votes)
            if writer is not None:
                writer.close()
        return {}


def main() -> None:
    """Serves requests until the input ends."""
    limits = json.loads(sys.argv[1])
    bound(**limits)
    session = Session()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(session, {"check": "check", "bind": "bind", "vote": "vote"}[request["do"]])(request)
        except Refusal as refusal:
            answer = {"problem": str(refusal), "position": refusal.position}
        except MemoryError:
            answer = {"memory": True}
        except Exception as error:
            answer = {"memory": True} if _about_memory(error) else {"problem": f"fails: {_first_line(error)}", "position": None}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _about_memory(error: Exception) -> bool:
    known = type(error).__name__ == "OutOfMemoryException"
    return known or any(word in str(error) for word in ("bad_alloc", "malloc", "allocate"))


def _first_line(error: Exception) -> str:
    """What DuckDB says, without the source excerpt, in which the parent's own wrapping would show."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


if __name__ == "__main__":
    main()
