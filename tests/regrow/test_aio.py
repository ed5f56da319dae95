"""The client for asyncio against a real gRPC server, and that its blocking twin is the same but for the words of asyncio."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from regrow import AsyncClient, CallError, Client
from regrow.gateway.v1 import gateway_pb2
from regrow.labeling.v1 import datasets_pb2, votes_pb2
from regrow.registry.v1 import registry_pb2
from regrow.training.v1 import runs_pb2


def on(gateway: Any, work: Callable[[AsyncClient], Any], **options: Any) -> Any:
    """What `work` answers on an event loop of its own, with a client of the gateway."""

    async def main() -> Any:
        async with AsyncClient(gateway.address, "rg_secret", **{"retry_for": 5, **options}) as client:
            return await work(client)

    return asyncio.run(main())


def public(client: type) -> dict[str, inspect.Signature]:
    methods = inspect.getmembers(client, callable)
    return {name: inspect.signature(method) for name, method in methods if not name.startswith("_")}


def test_the_two_clients_have_the_same_methods_with_the_same_parameters() -> None:
    blocking, awaited = public(Client), public(AsyncClient)
    assert {"predict", "predict_frame", "watch_run", "import_file", "export_frame", "close"} <= set(blocking)
    assert {name: list(one.parameters) for name, one in blocking.items()} == {
        name: list(one.parameters) for name, one in awaited.items()
    }
    waits = inspect.iscoroutinefunction, inspect.isasyncgenfunction
    assert [name for name in awaited if name != "name" and not any(wait(getattr(AsyncClient, name)) for wait in waits)] == []
    assert [name for name in blocking if any(wait(getattr(Client, name)) for wait in waits)] == []


def test_many_calls_run_at_once_on_one_loop(gateway: Any) -> None:
    gateway.on("Predict", lambda request: gateway_pb2.PredictResponse(version=request.name))

    async def work(client: AsyncClient) -> list[str]:
        answers = await asyncio.gather(*(client.predict(f"m{i}", [{"text": "x"}]) for i in range(20)))
        return [answer.version for answer in answers]

    assert on(gateway, work) == [f"projects/default/models/m{i}" for i in range(20)]
    assert {one["authorization"] for one in gateway.metadata} == {"Bearer rg_secret"}


def test_a_call_that_may_be_repeated_is_and_keeps_its_request_id(gateway: Any, refusal: Any) -> None:
    left = [2]

    def create(request: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise refusal(grpc.StatusCode.UNAVAILABLE, "Training is away.", retry=0.01)
        return runs_pb2.Run(name="projects/default/runs/r")

    gateway.on("CreateRun", create)
    run = on(gateway, lambda client: client.create_run("reviews/first", model="reviews"))
    assert run.name == "projects/default/runs/r"
    assert len({request.request_id for request in gateway.requests}) == 1
    assert len(gateway.requests) == 3


def test_moving_an_alias_is_never_repeated_here_either(gateway: Any, refusal: Any) -> None:
    def refuse(_: Any) -> Any:
        raise refusal(grpc.StatusCode.UNAVAILABLE, "The registry is away.", retry=0.01)

    gateway.on("GetAlias", lambda _: registry_pb2.Alias(etag="seen"))
    gateway.on("SetAlias", refuse)
    with pytest.raises(CallError, match="The registry is away"):
        on(gateway, lambda client: client.promote("reviews/3"))
    assert [type(request).__name__ for request in gateway.requests] == ["GetAliasRequest", "SetAliasRequest"]


def test_a_refusal_says_all_that_the_server_said(gateway: Any, refusal: Any) -> None:
    def refuse(_: Any) -> Any:
        raise refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "rows[0].age: bad", reason="INVALID_FIELD", fields={"rows[0].age": "bad"}
        )

    gateway.on("Predict", refuse)
    with pytest.raises(CallError) as caught:
        on(gateway, lambda client: client.predict("reviews", [{"age": "old"}]))
    assert (caught.value.code, caught.value.reason, caught.value.fields) == (
        "INVALID_ARGUMENT",
        "INVALID_FIELD",
        {"rows[0].age": "bad"},
    )


def test_no_server_is_told_with_what_to_do_here_too() -> None:
    async def work() -> None:
        async with AsyncClient("127.0.0.1:1", "key", retry_for=0) as client:
            await client.served("reviews")

    with pytest.raises(CallError, match="regrow up"):
        asyncio.run(work())


def test_a_list_is_walked_page_by_page(gateway: Any) -> None:
    def listed(request: Any) -> Any:
        number = int(request.page_token or 1)
        datasets = [datasets_pb2.Dataset(name=f"{number}-{i}") for i in range(2)]
        return datasets_pb2.ListDatasetsResponse(datasets=datasets, next_page_token=str(number + 1) if number < 3 else "")

    gateway.on("ListDatasets", listed)

    async def work(client: AsyncClient) -> list[str]:
        request = datasets_pb2.ListDatasetsRequest(parent="projects/default", page_size=2)
        return [dataset.name async for dataset in client.datasets.ListDatasets.each(request)]

    assert on(gateway, work) == ["1-0", "1-1", "2-0", "2-1", "3-0", "3-1"]


def test_watching_goes_on_where_it_broke_and_an_upload_starts_again(gateway: Any, refusal: Any, tmp_path: Any) -> None:
    broken: list[bool] = []

    def watch(request: Any) -> Iterator[Any]:
        for sequence in range(request.after_sequence + 1, 5):
            yield runs_pb2.RunEvent(sequence=sequence)
            if sequence == 2 and not broken:
                broken.append(True)
                raise refusal(grpc.StatusCode.UNAVAILABLE, "Training is away.", retry=0.01)

    gateway.on("WatchRun", watch)

    async def work(client: AsyncClient) -> list[int]:
        return [event.sequence async for event in client.watch_run("r-1")]

    assert on(gateway, work) == [1, 2, 3, 4]
    (tmp_path / "a.csv").write_bytes(b"text\n" + b"lovely\n" * 400_000)
    gateway.requests.clear()
    gateway.on("ImportDataset", lambda messages: datasets_pb2.Dataset(name=messages[0].dataset_id))
    assert on(gateway, lambda client: client.import_file(tmp_path / "a.csv", dataset_id="a")).name == "a"
    assert b"".join(message.content for message in gateway.requests[0]) == (tmp_path / "a.csv").read_bytes()


def test_votes_may_come_from_an_asynchronous_source(gateway: Any) -> None:
    gateway.on("WriteVotes", lambda messages: votes_pb2.WriteVotesResponse(written=len(messages)))

    async def work(client: AsyncClient) -> int:
        async def source() -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
                yield votes_pb2.WriteVotesRequest(parent="projects/default/datasets/d")

        return (await client.votes.WriteVotes(source())).written

    assert on(gateway, work) == 3
