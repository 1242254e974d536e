"""A LangGraph agent, written by hand: a model's node and a tools' node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

# pyright: reportMissingTypeStubs=false
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition

from tests.instrument.frameworks.scenario import reckon


class State(TypedDict):
    """The conversation."""

    messages: Annotated[list[Any], add_messages]


@tool
def calculate(expression: str) -> str:
    """Calculates."""
    return reckon(expression)


def model_at(url: str, **options: Any) -> ChatOpenAI:
    """A chat model behind a server."""
    settings: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "k", "max_retries": 0, "stream_usage": True}
    return ChatOpenAI(model="gpt-4o", **(settings | options))


def agent_at(url: str, *, tools: Sequence[Any] = (calculate,), handle_tool_errors: bool = False, **options: Any) -> Any:
    """The compiled graph."""
    model: Any = model_at(url, **options)
    model = model.bind_tools(list(tools))

    def think(state: State) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def athink(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph: Any = StateGraph(State)
    graph.add_node("model", RunnableLambda(think, afunc=athink))
    graph.add_node("tools", ToolNode(list(tools), handle_tool_errors=handle_tool_errors))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "model")
    return graph.compile(name="calculator")


QUESTION = {"messages": [("user", "What is 6*7?")]}
