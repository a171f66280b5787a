"""``dlcompare show MODEL``: inputs, layers, and what they cost, from the graph alone."""

from __future__ import annotations

import json
from typing import Any

from dlcompare.core.graph import Graph
from dlcompare.core.graph.cost import Cost, cost, node_costs, training_bytes
from dlcompare.core.graph.model import Model


def render(model: Model, image_size: int | None, form: str) -> str:
    """Return a model's anatomy as text for people, or with ``form`` "json" as one object."""
    graph = model.graph(image_size)
    return json.dumps(plain(model, graph), indent=1) if form == "json" else text(model, graph)


def plain(model: Model, graph: Graph) -> dict[str, Any]:
    """Return everything as plain data; counts are per sample, bytes in fp32."""
    total, by_node = cost(graph), node_costs(graph)
    return {
        "model": model.name, "task": model.task, "reference": model.reference,
        "inputs": {k: {"shape": v.shape, "dtype": v.dtype} for k, v in graph.inputs.items()},
        "outputs": dict(graph.outputs),
        "parameters": total.parameters, "multiply_adds": total.multiply_adds,
        "training_flops": total.training_flops,
        "bytes": {"parameters": total.parameter_bytes, "activations": total.activation_bytes,
                  "training_batch_1": training_bytes(graph, 1)},
        "layers": [{"name": n.name, "op": n.op, "shape": n.shape, "parameters": by_node[n.name].parameters,
                    "multiply_adds": by_node[n.name].multiply_adds} for n in graph.nodes],
    }


def text(model: Model, graph: Graph) -> str:
    """Return the layers as a table with the totals below."""
    by_node, total = node_costs(graph), cost(graph)
    inputs = ", ".join(f"{k} {'x'.join(map(str, v.shape)) or 'scalar'} {v.dtype}" for k, v in graph.inputs.items())
    width = max(len(n.name) for n in graph.nodes)
    lines = [f"{model.name}: {model.task}; {model.reference}", f"inputs: {inputs}", "",
             f"{'layer':<{width}}  {'op':<18} {'output':>14} {'parameters':>12} {'multiply-adds':>15}"]
    lines += [row(n.name.ljust(width), n.op, n.shape, by_node[n.name]) for n in graph.nodes]
    return "\n".join([*lines, "", *totals(graph, total)])


def row(name: str, op: str, shape: tuple[int, ...], node: Cost) -> str:
    size = "x".join(map(str, shape)) or "scalar"
    return f"{name}  {op:<18} {size:>14} {node.parameters or '':>12} {node.multiply_adds or '':>15}"


def totals(graph: Graph, total: Cost) -> list[str]:
    """Return the totals, per sample where it says so."""
    return [
        f"parameters     {total.parameters:>15,}  ({total.parameters / 1e6:.2f} M), and {total.statistics:,} running "
        f"statistics; {total.parameter_bytes / 2**20:.1f} MiB in fp32",
        f"multiply-adds  {total.multiply_adds:>15,}  per sample, forward ({total.multiply_adds / 1e9:.2f} G); a "
        f"training step takes {total.training_flops / 1e9:.2f} G floating-point operations",
        f"activations    {total.activations:>15,}  per sample ({total.activation_bytes / 2**20:.1f} MiB in fp32)",
        f"training       {training_bytes(graph, 1) / 2**20:>11.1f} MiB  at least, with a batch of 1",
    ]
