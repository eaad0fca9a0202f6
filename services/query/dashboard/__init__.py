"""The dashboard: pages rendered on the server, with a few small scripts and no build step.

**A page** is a module here with a `router`, listed in `services/query/api/__init__.py`:

    router = page_router()

    @router.get("/comments")
    async def comments(request: Request, reader: PageReader, params: FilterParams) -> Response:
        rows = await ...(request.app.state.service.store, reader.tenant, params.filters)
        return page(request, "comments.html", rows=rows, bar=bar("/comments", params))

- `page_router()` (routing.py) shows every `QueryProblem` as a page, and redirects to `/sign-in` if needed.
- `PageReader` is the caller, as `Reader` is for the API.
- `FilterParams` (routing.py) has the filters of the URL: `.filters`.  A page with parameters of its own
  names them: `Annotated[PageParams, Depends(page_params("by", "measure"))]`, then `.extra["by"]`.  What a
  form sends (empty fields, a comparison in three fields) is redirected to one short URL first.
- `page()` (render.py) renders a template of `templates/` and sets the headers, with a strict
  Content-Security-Policy: **no inline style, no inline script, nothing from another host.**  Autoescape is
  on: never `|safe`.  Charts are `markupsafe.Markup` made with `.format()`, or macros, with classes for
  colours and attributes for lengths (SVG's `x`, `width`, … are attributes, so they are allowed).

**A template** extends `layout.html` and fills the blocks `title` and `main`.  Beside its values it has
`path`, `tenant`, `now`, `asset("file")`, and the filters of formatting.py and macros:

    {% from "macros/show.html" import time, vote, chip, sentiment, request_link, empty %}
    {{ time(row.last_received_at) }}   relative, exact on hover, kept fresh
    {{ vote(row) }}                    👍 👎 ❤️, or the number
    {{ 812.5|milliseconds }} {{ 0.0021|dollars }} {{ 12345|count }} {{ 0.4215|percent }} {{ value|pretty }}
    {{ id|request_href }}              the page of a request
    {% from "macros/filters.html" import filter_bar %}   {{ filter_bar(bar) }}
    {{ "/insights"|with_filters(filters, by="model") }}  a link that keeps the filters

**Live.**  An element with an `id` and the attribute `data-live` is brought up to date when rows of the
tenant change: the script gets the same URL again and changes the differing nodes in place, so focus, scroll,
and what is opened stay.  Give repeated children (rows, cards) `data-key="…"`, unique among their siblings,
so that they are moved and not rewritten; a row with `data-mark="…"` is highlighted when its mark changes
(use the version).  `data-keep="hidden open aria-expanded"` names attributes that belong to the reader and are
never taken from the server.  `data-every="5"` on a live element updates it every 5
seconds too (pipeline); `data-rest="10"` waits at least 10 seconds between two updates (expensive ones).

**Styles** are in `static/afterword.css`; colours are custom properties that follow the theme.

    .page-head (h1 and .lead)        .row (flex, wraps)  .stack (spaced column)  .spread (ends apart)
    .card, .cards, .cards-wide (grids of them), .card-title, .stat (with .stat-value, .stat-label)
    .table-wrap > table.table        td.num (numbers), td.grow; .as-cards with td[data-label] on phones
    .chip .chip-link .chip-remove    .badge .badge-positive .badge-negative .badge-neutral .badge-plain
    .button .button-quiet .button-primary   .tabs (links, one aria-current)
    .facts (dl)  .timeline (ol)  .code (pre)  .mono .muted .small .wrap-anywhere .visually-hidden
    .empty (with h2, p, pre.code)    .notice .notice-warn .notice-bad
    svg.chart: .axis .grid .tick (text) .line .area .bar .dot .whisker .track, and a colour class:
    .is-positive .is-negative .is-neutral .is-accent .is-muted .is-1 … .is-6 (shapes use currentColor)
    .legend, .chart-box (a figure: figcaption, svg, details with the table)
"""
