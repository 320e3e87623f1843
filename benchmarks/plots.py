"""Makes the tables and plots of docs/performance.md from the figures in ``results/``.

    python benchmarks/plots.py --harness RESULTS.jsonl   # keep the figures of a run of the harness
    python benchmarks/plots.py --write                   # write the tables and draw the plots

Without an option it changes nothing, and ends with status 1 where a table is out of date. Only drawing
needs matplotlib, which is not among the dependencies: ``pip install matplotlib``.
"""

import argparse
import collections
import json
import re
import statistics
import sys
from pathlib import Path

import recorded

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
IMAGES = PAGE.parent / "images"

#: The workloads of the harness.
WORKLOADS = {
    "W1hot": "guard, one token",
    "W1many": "guard, 10,000 tokens",
    "W5": "guard, unknown tokens",
    "W4": "introspection",
    "W2": "refresh",
    "W3": "code exchange",
}

#: The peers in the order of the tables, and their names there.
PEERS = {
    "floor-bare": "bare Twisted",
    "djoauth2-sqlite": "ours, SQLite",
    "djoauth2-postgresql": "ours, PostgreSQL",
    "djoauth2-redis": "ours, Redis",
    "djoauth2-postgresql-nocache": "ours, PostgreSQL, no cache",
    "djoauth2-redis-nocache": "ours, Redis, no cache",
    "djoauth2-redis-socket": "ours, Redis by a socket",
    "djoauth2-memory": "ours, in memory",
    "djoauth2-sqlite-nolog": "ours, SQLite, no access log",
    "djoauth2-sqlite-rs256": "ours, SQLite, ID tokens with RS256",
    "djoauth2-sqlite-es256": "ours, SQLite, ID tokens with ES256",
    "node-oidc-map": "node-oidc-provider, in memory",
    "node-oidc-redis": "node-oidc-provider, Redis",
    "authlib-sqlite": "Authlib, SQLite",
    "authlib-pg": "Authlib, PostgreSQL",
    "dot-sqlite": "django-oauth-toolkit, SQLite",
    "floor-bare-tls": "bare Twisted, TLS",
    "djoauth2-sqlite-tls": "ours, SQLite, TLS",
}

#: Those that are also drawn.
DRAWN = [
    "djoauth2-sqlite",
    "djoauth2-postgresql",
    "djoauth2-redis",
    "djoauth2-memory",
    "node-oidc-map",
    "node-oidc-redis",
    "authlib-sqlite",
    "dot-sqlite",
]

#: The goals: a workload, ours, the other, and the ratio of their requests per second.
GOALS = (
    ("W1hot", "djoauth2-sqlite", "floor-bare", 0.90),
    ("W1many", "djoauth2-sqlite", "floor-bare", 0.85),
    ("W5", "djoauth2-sqlite", "floor-bare", 0.50),
    ("W1hot", "djoauth2-sqlite-tls", "djoauth2-sqlite", 0.75),
    ("W4", "djoauth2-sqlite", "node-oidc-map", 1.1),
    ("W2", "djoauth2-sqlite", "node-oidc-map", 1.0),
    ("W2", "djoauth2-sqlite", "authlib-sqlite", 10),
    ("W2", "djoauth2-sqlite", "dot-sqlite", 22),
    ("W2", "djoauth2-redis", "node-oidc-redis", 1.4),
    ("W2", "djoauth2-postgresql", "authlib-pg", 8),
    ("W3", "djoauth2-sqlite", "node-oidc-map", 1.0),
    ("W3", "djoauth2-redis", "node-oidc-redis", 1.4),
    ("W3", "djoauth2-postgresql", "authlib-pg", 8),
)


# The harness's figures.


def collect(path):
    """Keep the figures of each peer and workload: of the run without errors that took the least CPU."""
    runs, starts = collections.defaultdict(list), collections.defaultdict(list)
    loads = []
    for line in path.read_text().splitlines():
        run = json.loads(line)
        if run["peer"] not in PEERS:
            continue
        if run["workload"] == "W6start":
            starts[run["peer"]].append(run)
        # The time of a thread that ended during the run is missing, so the sum may be negative.
        elif run["workload"] in WORKLOADS and not run["errors"] and run["cpu_us"] > 0:
            runs[run["peer"], run["workload"]].append(run)
            loads.append(run["load1"])
    figures = {peer: {"workloads": {}} for peer in PEERS if peer in starts}
    for (peer, workload), some in runs.items():
        best = min(some, key=lambda run: run["cpu_us"])
        figures[peer]["workloads"][workload] = {
            "runs": len(some),
            "cpu_us": round(best["cpu_us"], 1),
            "store_cpu_us": round(best["store_cpu_us"] or 0, 1),
        }
    for peer, some in starts.items():
        figures[peer]["start_s"] = round(min(run["startup_s"] for run in some), 2)
        figures[peer]["memory_mib"] = round(statistics.median(run["pss_mib"] for run in some), 1)
    recorded.write("servers", {"load": round(statistics.mean(loads), 1), "peers": figures})


# The tables.


def table(heads, rows):
    """A table of Markdown whose first column is text."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def cpu_of(peers, peer, workload):
    """The microseconds of CPU time of a request, or None."""
    return peers.get(peer, {}).get("workloads", {}).get(workload, {}).get("cpu_us")


def servers(figures):
    """CPU time by server and workload."""
    peers = figures["peers"]
    rows = []
    for peer, name in PEERS.items():
        if peer in peers:
            costs = [cpu_of(peers, peer, workload) for workload in WORKLOADS]
            rows.append([name, *("" if cost is None else f"{cost:,.0f}" for cost in costs)])
    return table(["microseconds of CPU", *WORKLOADS.values()], rows)


def goals(figures):
    """The ratios that were to be reached, and those that were."""
    rows = []
    for workload, ours, other, goal in GOALS:
        one = cpu_of(figures["peers"], ours, workload)
        # Without a guard, all requests are alike.
        two = cpu_of(figures["peers"], other, "W1hot" if other == "floor-bare" else workload)
        reached = "not measured" if None in (one, two) else f"{two / one:.2f}"
        rows.append([WORKLOADS[workload], PEERS[ours], PEERS[other], f"{goal:g}", reached])
    return table(["workload", "this", "beside", "goal", "reached"], rows)


def starts(figures):
    """The time to the first answer, and the memory then."""
    rows = [
        [name, figures["peers"][peer]["start_s"], figures["peers"][peer]["memory_mib"]]
        for peer, name in PEERS.items()
        if peer in figures["peers"]
    ]
    return table(["server", "first answer, s", "memory, MiB"], rows)


def latency(figures):
    """The latencies at each load."""
    rows = []
    for peer, kinds in figures.items():
        for kind, measured in kinds.items():
            quantiles = [f"{each['p50']:.1f}, {each['p99']:.1f}" for each in measured["loads"].values()]
            rows.append([f"{PEERS[peer]}, {kind}", f"{measured['saturation']:,}", *quantiles])
    loads = next(iter(next(iter(figures.values())).values()))["loads"]
    heads = ["p50, p99 in ms", "saturation, 1/s", *(f"at {float(load):.0%}" for load in loads)]
    return table(heads, rows)


def token_count(figures):
    """The cost of a look-up and a refresh by the number of tokens."""
    rows = [[f"{int(count):,}", each["look-up"], each["refresh"]] for count, each in figures.items()]
    return table(["tokens in the store", "look-up", "refresh"], rows)


def reactor_block(figures):
    """The longest turn of the reactor for each kind of request."""
    rows = []
    for kind, each in figures.items():
        times = [f"{each['most'][name]:.1f} ({each['over'][name]})" for name in ("clock", "own", "cpu")]
        rows.append([kind, f"{each['turns']:,}", *times])
    return table(["requests", "turns", "by the clock", "without others", "of CPU"], rows)


def workers(figures):
    """One worker and two: medians of requests per second and of CPU time."""
    rows = []
    for kind, runs in figures.items():
        (one, one_took), (two, two_took) = (
            [statistics.median(each) for each in zip(*runs[str(count)], strict=True)] for count in (1, 2)
        )
        rows.append([kind, f"{one:,.0f}", f"{two:,.0f}", f"{two / one:.2f}"])
        rows[-1] += [f"{one_took:,.0f}", f"{two_took:,.0f}", f"{2 * one_took / two_took:.2f}"]
    heads = ["requests", "1/s with one", "1/s with two", "ratio", "µs with one", "µs with two"]
    return table([*heads, "ratio for workers alone"], rows)


def cached_tokens(figures):
    """The memory of a cached token."""
    return f"A cached access token takes {figures['bytes']:,} bytes.\n"


def feed(figures):
    """The cost of learning of an ending."""
    return (
        f"A process uses {figures['us']} µs of CPU for each invalidation, and "
        f"{figures['us'] * REFRESHED / 1e4:.0f} % of a processor for {REFRESHED:,} a second.\n"
    )


#: The layouts that are sized: the name, the peer, and the share of guarded requests that are look-ups.
LAYOUTS = (
    ("Redis, requests balanced by token", "djoauth2-redis", 0.1),
    ("Redis, requests balanced at random", "djoauth2-redis", 1),
    ("PostgreSQL", "djoauth2-postgresql", 1),
)


#: Requests per second.
GUARDED, REFRESHED = 100_000, 10_000


def sizing(figures):
    """How many processors `GUARDED` requests and `REFRESHED` refreshes a second need."""
    peers, rows = figures["peers"], []
    # A token in the cache costs the same with every store.
    known = cpu_of(peers, "djoauth2-sqlite", "W1hot")
    for name, peer, share in LAYOUTS:
        looked_up = peers[f"{peer}-nocache"]["workloads"]["W1hot"]
        refreshed = peers[peer]["workloads"]["W2"]
        guard = (1 - share) * known + share * looked_up["cpu_us"]
        store = (
            GUARDED * share * looked_up["store_cpu_us"] + REFRESHED * refreshed["store_cpu_us"]
        ) / 1e6
        guards, tokens = processors(GUARDED, guard), processors(REFRESHED, refreshed["cpu_us"])
        rows.append([name, guards, tokens, f"{store:.1f}"])
    heads = ["layout", "processors for guards", "processors for refreshes", "the store, busy processors"]
    return table(heads, rows)


def processors(rate, cost):
    """How many processors serve a rate at half load, at a cost in microseconds, with the arithmetic."""
    return f"{rate:,} x {cost:,.0f} µs / 0.5 = {rate * cost / 1e6 / 0.5:,.0f}"


#: What is written between which marks of the page, and the benchmark whose figures it has.
PARTS = {
    "servers": ("servers", servers),
    "goals": ("servers", goals),
    "starts": ("servers", starts),
    "latency": ("latency", latency),
    "token_count": ("token_count", token_count),
    "reactor_block": ("reactor_block", reactor_block),
    "workers": ("workers", workers),
    "workers-redis": ("workers-redis", workers),
    "cached_tokens": ("cached_tokens", cached_tokens),
    "sizing": ("servers", sizing),
    "feed": ("feed", feed),
}


def measured(state, figures):
    """The line under a table that says what was measured."""
    load = figures.get("load", state["load"])
    return (
        f"Measured at {state['when']} UTC, on commit {state['commit']} with Python {state['python']}. "
        f"The machine has {state['processors']} processors, which {load:g} processes wanted.\n"
    )


def with_tables(page):
    """The page with the tables of today's figures."""
    for mark, (name, made) in PARTS.items():
        kept = recorded.read(name)
        if kept is None:
            continue
        state, figures = kept
        text = f"<!-- {mark} -->\n{made(figures)}\n{measured(state, figures)}<!-- end -->"
        pattern = rf"<!-- {mark} -->.*?<!-- end -->"
        page, count = re.subn(pattern, lambda _, text=text: text, page, flags=re.DOTALL)
        assert count == 1, f"{PAGE} has no place for {mark}"
    return page


# The plots.


def draw_throughput(axes, figures):
    """Requests per second of one processor, by server and workload."""
    width = 0.8 / len(DRAWN)
    for number, peer in enumerate(DRAWN):
        costs = [cpu_of(figures["peers"], peer, workload) for workload in WORKLOADS]
        bars = {place: 1e6 / cost for place, cost in enumerate(costs) if cost}
        places = [place - 0.4 + width * (number + 0.5) for place in bars]
        axes.bar(places, bars.values(), width, label=PEERS[peer])
    axes.set_yscale("log")
    axes.set_xticks(range(len(WORKLOADS)), [name.replace(", ", ",\n") for name in WORKLOADS.values()])
    axes.set_ylabel("requests per second of one processor")


def draw_latency(axes, figures):
    """The latencies against the load."""
    for peer, kinds in figures.items():
        for kind, each in kinds.items():
            loads = [100 * float(load) for load in each["loads"]]
            colour = None
            for quantile, style in (("p50", "-"), ("p99", "--")):
                values = [quantiles[quantile] for quantiles in each["loads"].values()]
                name = f"{PEERS[peer]}, {kind}, {quantile}"
                [line] = axes.plot(loads, values, style, marker="o", color=colour, label=name)
                colour = line.get_color()
    axes.set_yscale("log")
    axes.set_xlabel("load, % of saturation")
    axes.set_ylabel("latency, ms")


def draw_token_count(axes, figures):
    """The cost of a step against the number of tokens."""
    for step in ("look-up", "refresh"):
        axes.plot(
            [int(count) for count in figures],
            [each[step] for each in figures.values()],
            marker="o",
            label=step,
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("tokens in the store (SQLite)")
    axes.set_ylabel("microseconds of CPU")


DRAWINGS = {
    "throughput": ("servers", draw_throughput),
    "latency": ("latency", draw_latency),
    "token-count": ("token_count", draw_token_count),
}


def draw():
    """Draw the plots. The same figures give the same files."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "djoauth2", "svg.fonttype": "none", "font.size": 9})
    for name, (benchmark, drawing) in DRAWINGS.items():
        kept = recorded.read(benchmark)
        if kept is not None:
            figure = Figure(figsize=(9, 4.5), layout="constrained")
            axes = figure.subplots()
            drawing(axes, kept[1])
            axes.grid(axis="y", alpha=0.3)
            figure.legend(loc="outside lower center", ncols=4, fontsize=8)
            metadata = {"Date": None, "Creator": None}
            figure.savefig(IMAGES / f"performance-{name}.svg", metadata=metadata)


def main():
    """Read the options, and act."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--harness", type=Path, metavar="RESULTS.jsonl")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.harness:
        collect(arguments.harness)
    page = PAGE.read_text("utf-8")
    if arguments.write:
        PAGE.write_text(with_tables(page), "utf-8")
        draw()
    elif not arguments.harness and with_tables(page) != page:
        sys.exit("the tables are out of date: python benchmarks/plots.py --write")


if __name__ == "__main__":
    main()
