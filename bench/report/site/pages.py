"""Pages: the content of each page of the site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bench.cards import catalogue
from bench.cards.files import FileWeights
from bench.cards.local_files import needs_download
from bench.cards.models import ModelCard
from bench.records.intervals import optimism_of
from bench.records.lineage import images_of, overlap_of
from bench.records.published import Published
from bench.records.rerun_command import rerun_command
from bench.report.definitions import definition_of
from bench.report.formats import seed_table
from bench.report.site import details, home, protocol_pages
from bench.report.site.answer import answer
from bench.report.site.benchmark_pages import OTHERS, columns, facts_of, shared_definition, task_of, usual_probe
from bench.report.site.benchmarks import Benchmark, benchmarks_of, counts
from bench.report.site.chart import draw
from bench.report.site.content import Claim, Model, Paper, Run, Site, dataset_title
from bench.report.site.facets import facets, plain
from bench.report.site.gallery import TITLES, Example, Gallery
from bench.report.site.groups import groups, reasons
from bench.report.site.matrix import matrix
from bench.report.site.names import arxiv_url, web_url
from bench.report.site.protocol_pages import about
from bench.report.site.render import Renderer, script
from bench.report.site.reproduce import BLANKS, reproduce
from bench.report.tables import shown_interval
from bench.scoring.metric_names import FALLING, metric_meaning, metric_name

Page = tuple[str, bytes]
"""Where it lies below the site's root, and its content."""


class Pages:
    """All pages of a site."""

    def __init__(self, site: Site, galleries: dict[str, Gallery], figures: Sequence[Published]) -> None:
        self.site, self.galleries, self.figures = site, galleries, figures
        self.render = Renderer(site)
        self.benchmarks = benchmarks_of(site)

    def __iter__(self) -> Iterator[Page]:
        yield self._home()
        yield "assets/search.js", script("benchIndex", self._index())
        for benchmark in self.benchmarks.values():
            if not benchmark.metrics:
                yield benchmark.url, self.render.page("dataset", benchmark.url, "Benchmarks", **facts_of(benchmark))
            for protocol, metrics in benchmark.metrics.items():
                yield from (self._benchmark(benchmark, protocol, metric) for metric in metrics)
        for model in self.site.models.values():
            yield self._model(model)
            if self.site.is_crowded(model):
                yield from (self._run(run) for run in self.site.runs_of(model))
        yield from (self._paper(paper) for paper in self.site.papers)
        yield from (self._pictures(run) for run in self.site.runs if run.path in self.galleries)
        yield self._models()
        yield self._papers()
        yield self._matrix()
        yield self._protocols()
        yield from (self._protocol(one) for one in protocol_pages.every())

    def _home(self) -> Page:
        tasks: dict[str, list[dict[str, Any]]] = {}
        lines = [home.line_of(benchmark) for benchmark in self.benchmarks.values()]
        for line in lines:
            tasks.setdefault(task_of(line["benchmark"]), []).append(line)
        found = [line["unsupervised"] for line in lines if line["unsupervised"]]
        context = {
            "total": len(self.site.claims),
            "papers": len({claim.paper.key for claim in self.site.claims}),
            "outcomes": home.outcome_line(self.site.claims),
            "runs": len(self.site.runs),
            "measured_models": len({run.model.key for run in self.site.runs}),
            "main": found[0] if found else None,
            "falling": bool(found) and found[0].metric in FALLING,
            "chart": home.chart_of(found[0]) if found else None,
            "tiles": home.tiles(found[1:]),
            "pictured": home.pictures(self.site.runs, self.galleries),
            "skipped": self.site.skipped,
            "tasks": sorted(tasks.items()),
        }
        return "index.html", self.render.page("index", "index.html", "Benchmarks", **context)

    def _index(self) -> list[list[str]]:
        """What the search knows: name, kind, page, and further words to find it by."""
        found = [
            [benchmark.title, f"data set, {benchmark.split}", benchmark.url, benchmark.dataset]
            for benchmark in self.benchmarks.values()
        ]
        found += [
            [model.title, f"model, {model.backbone}", model.url, f"{model.id or ''} {model.labels.supervision}"]
            for model in self.site.models.values()
        ]
        return found + [[paper.title, f"paper, {paper.date}", paper.url, paper.arxiv] for paper in self.site.papers]

    def _benchmark(self, benchmark: Benchmark, protocol: str, metric: str) -> Page:
        rows = benchmark.ranked(protocol, metric)
        url = benchmark.page_of(protocol, metric)
        context = facts_of(benchmark) | {
            "protocol": protocol,
            "metric": metric_name(metric),
            "meaning": metric_meaning(metric),
            "definition": shared_definition(benchmark, protocol, rows),
            "protocols": [(name, benchmark.page_of(name, keys[0])) for name, keys in benchmark.metrics.items()],
            "metrics": [
                (metric_name(name), benchmark.page_of(protocol, name), name == metric)
                for name in benchmark.metrics[protocol]
            ],
            "shows": columns(rows),
            "most": OTHERS,
            "falling": metric in FALLING,
            "chart": draw(rows, metric),
            "groups": groups(rows),
            "reasons": reasons(rows),
            "facets": facets(rows),
            "answer": answer(rows, metric),
            "about_protocol": about(protocol),
            "probe": usual_probe(rows),
        }
        if url != benchmark.url:
            context["unlabelled"] = []  # its first page lists them
        return url, self.render.page("benchmark", url, "Benchmarks", **context)

    def _model(self, model: Model) -> Page:
        runs = self.site.runs_of(model)
        crowded = self.site.is_crowded(model)
        card = catalogue.models().get(model.id) if model.id else None
        context = {
            "model": model,
            "description": card.description if card else "",
            "weights": _weights(card),
            "licence": card.licence if card else "",
            "overlaps": [(dataset_title(name), said) for name, said in sorted(model.overlaps.items())],
            "figures": self._figures_of(model, runs),
            "namesakes": self.site.namesakes_of(model),
            "inlined": [] if crowded else [(run, self._part(run, details.scale_of(runs))) for run in runs],
            "apart": runs if crowded else [],
        }
        return model.url, self.render.page("model", model.url, "Models", **context)

    def _figures_of(self, model: Model, runs: Sequence[Run]) -> list[dict[str, Any]]:
        """A model's figures on everything: the published ones with what was measured, then what was measured beyond."""
        claims = self.site.claims_of(model)
        lines = [self._line_of_claim(claim, model) for claim in claims]
        told = {(claim.run.path, claim.figure.metric) for claim in claims if claim.run}
        for run in runs:
            for metric in run.metrics:
                if (run.path, metric) in told:
                    continue
                measured = run.record["metrics"][metric]
                found = shown_interval(run.stored, metric)
                lines.append(
                    self._place(run.dataset, run.split, run.protocol, metric)
                    | {
                        "published": None,
                        "method": "",
                        "paper": None,
                        "detail": (),
                        "second_hand": False,
                        "measured": measured["value"],
                        "interval": found,
                        "run": run,
                    }
                    | {"difference": None, "tolerance": None, "status": "measured", "reason": run.context_of(metric)}
                )
        return lines

    def _line_of_claim(self, claim: Claim, model: Model) -> dict[str, Any]:
        figure = claim.figure
        place = self._place(figure.dataset, figure.split, figure.protocol, figure.metric)
        place |= {"published": figure.value, "detail": figure.counted, "second_hand": figure.second_hand}
        place["method"] = figure.model if figure.model != model.title else ""
        place["paper"] = claim.paper if model.paper is None or claim.paper.key != model.paper.key else None
        names = ("measured", "interval", "difference", "tolerance", "status", "reason", "run")
        line = place | {name: getattr(claim, name) for name in names}
        # a figure may answer to several cards: of a run of another model it is said whose it is
        if claim.run and model.id and claim.run.model.key != model.key:
            line["reason"] = f"measured with {claim.run.model.id}" + (f"; {claim.reason}" if claim.reason else "")
        return line

    def _place(self, dataset: str, split: str, protocol: str, metric: str) -> dict[str, Any]:
        benchmark = self.benchmarks[dataset, split]
        return {
            "dataset": benchmark.title,
            "split": split,
            "protocol": protocol,
            "metric": metric_name(metric),
            "url": benchmark.page_of(protocol, metric),
        }

    def _part(self, run: Run, scale: details.Scale) -> dict[str, Any]:
        """All that is shown of a run."""
        record = run.record
        command = reproduce(record)
        again = rerun_command(record, run.below.removesuffix(".json"))
        blanks = {*command.split(), *(again or "").split()}
        first = run.metrics[0] if run.metrics else None
        return {
            "dataset": dataset_title(run.dataset, [run]),
            "benchmark_url": self.benchmarks[run.dataset, run.split].page_of(run.protocol, first) if first else None,
            "warnings": details.warnings_of(record),
            "images": images_of(record),
            "overlap": overlap_of(record),
            "spreads": details.spreads(run, scale),
            "ticks": scale.ticks,
            "definition": definition_of(record),
            "optimism": optimism_of(record),
            "command": command,
            "again": again,
            "blanks": [(word, meaning) for word, meaning in BLANKS.items() if word in blanks],
            "gallery_url": _pictures_url(run) if run.path in self.galleries else None,
            "classes": details.class_figures(record, own=self.site.only.own),
            "class_sources": [] if self.site.only.own else details.class_sources(record),
            "sequences": details.sequence_figures(record),
            "confusion": details.confusion(run.stored),
            "recipe": details.recipe(record),
            "facts": details.facts(record),
        }

    def _run(self, run: Run) -> Page:
        url = self.site.url_of(run)
        return url, self.render.page("run_page", url, "Models", run=run, part=self._part(run, details.scale_of([run])))

    def _paper(self, paper: Paper) -> Page:
        claims = [claim for claim in self.site.claims if claim.paper.key == paper.key]
        given = any(claim.figure.seed_table for claim in claims)
        groups: dict[str, list[tuple[Claim, str, str]]] = {}
        for claim in claims:
            figure = claim.figure
            place = self._place(figure.dataset, figure.split, figure.protocol, figure.metric)
            title = f"{place['dataset']} {figure.split}"
            groups.setdefault(title, []).append((claim, place["url"], place["metric"]))
        context = {
            "paper": paper,
            "arxiv_url": arxiv_url(paper.arxiv),
            "given": self._given() if given else [],
            "total": len(claims),
            "reasons": _shared_reasons(claims),
            "groups": list(groups.items()),
            "models": [one for one in self.site.models.values() if one.id and one.paper and one.paper.key == paper.key],
        }
        return paper.url, self.render.page("paper", paper.url, "Papers", **context)

    def _given(self) -> list[dict[str, Any]]:
        """The table as it was given, each line with the pages of its benchmark and of the run that answers to it."""
        answers = {
            (
                claim.figure.dataset,
                claim.figure.split,
                claim.figure.protocol,
                claim.figure.metric,
                claim.figure.value,
            ): (self.site.url_of(claim.run) if claim.run else "")
            for claim in self.site.claims
            if claim.figure.seed_table
        }
        lines = seed_table(self.figures, [run.stored for run in self.site.runs])
        for line in lines:
            dataset, split, protocol, metric = (line[name] for name in ("dataset", "split", "protocol", "metric"))
            line["url"] = self.benchmarks[dataset, split].page_of(protocol, metric)
            line["run_url"] = answers[dataset, split, protocol, metric, line["value"]]
        return lines

    def _pictures(self, run: Run) -> Page:
        gallery, url = self.galleries[run.path], _pictures_url(run)
        places: dict[str, str] = {}
        placed: list[tuple[str, list[tuple[Example, str]]]] = []
        for title, images in gallery.groups:
            placed.append((title, []))
            for image in images:
                new = image.id not in places
                place = places.setdefault(image.id, f"image-{len(places)}")
                placed[-1][1].append((image, place if new else ""))
        known = {image.id: image for image in gallery.examples.images}
        context = {
            "run": run,
            "dataset": dataset_title(run.dataset, [run]),
            "gallery": gallery,
            "best_and_worst": [group for group in placed if group[0] in TITLES.values()],
            "others": [group for group in placed if group[0] not in TITLES.values()],
            "by_cluster": [
                [(known[name], places[name]) for name in cluster.examples if name in known]
                for cluster in gallery.examples.clusters
            ],
        }
        return url, self.render.page("pictures", url, "Models", **context)

    def _matrix(self) -> Page:
        found = matrix(self.benchmarks.values())
        context = {
            "matrix": found,
            "datasets": list(dict.fromkeys(f"{plain(one.dataset)} {plain(one.split)}" for one in found.columns)),
            "protocols": sorted({plain(one.protocol) for one in found.columns}),
        }
        return "matrix.html", self.render.page("matrix", "matrix.html", "Matrix", **context)

    def _protocols(self) -> Page:
        counted = Counter(
            one.id
            for benchmark in self.benchmarks.values()
            for entry in benchmark.entries
            if (one := about(entry.protocol))
        )
        rows = [(one, counted[one.id]) for one in protocol_pages.every()]
        return "protocols.html", self.render.page("protocols", "protocols.html", "Protocols", protocols=rows)

    def _protocol(self, one: protocol_pages.About) -> Page:
        context = protocol_pages.protocol_page(one, list(self.benchmarks.values()))
        return one.url, self.render.page("protocol", one.url, "Protocols", **context)

    def _models(self) -> Page:
        rows = [
            (model, len(self.site.claims_of(model)), len(self.site.runs_of(model)))
            for model in self.site.models.values()
        ]
        return "models.html", self.render.page("models", "models.html", "Models", models=rows)

    def _papers(self) -> Page:
        rows = [
            (paper, counts([claim for claim in self.site.claims if claim.paper.key == paper.key]))
            for paper in self.site.papers
        ]
        return "papers.html", self.render.page("papers", "papers.html", "Papers", papers=rows)


def _shared_reasons(claims: Sequence[Claim]) -> dict[str, int]:
    """What several figures of a page that are not comparable differ by → its number: the page says it once."""
    told = Counter(claim.reason for claim in claims if claim.status == "not comparable" and claim.reason)
    shared = [reason for reason, count in told.items() if count > 1]
    return {reason: number for number, reason in enumerate(shared, start=1)}


def _weights(card: ModelCard | None) -> tuple[str, str | None]:
    """What the weights of a card are called, and where a person can fetch them; an empty name where nobody can."""
    if card and isinstance(card.weights, FileWeights):
        return (card.weights.file, web_url(card.weights.address)) if card.weights.address else ("", None)
    return (card.network.address, None) if card and card.network and needs_download(card) else ("", None)


def _pictures_url(run: Run) -> str:
    return f"pictures/{run.slug}.html"
