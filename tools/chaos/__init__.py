"""Inject random faults into managers, workers, connections and the server, and check all guarantees.

    python -m tools.chaos --seeds 30 --seconds 30
    python -m tools.chaos --seed 7 --seconds 30

| module | question |
|---|---|
| `plan` | which faults does a seed choose, when, and at which targets? |
| `faults` | which kinds of faults exist? |
| `trial` | how does one seed run, from an empty database to the evidence? |
| `processes`, `proxy`, `wire`, `pooler` | what runs, and what can fail? |
| `injection` | how is each fault injected? |
| `enqueuer`, `app`, `kinds` | which tasks are enqueued, and how should each end? |
| `schedules` | which schedules tick, and how often? |
| `journal` | which process ran which task, and when? |
| `evidence` | what is known at the end? |
| `ends`, `runs`, `counters`, `ticks`, `checker` | which guarantees were broken? |
| `report` | what is printed? |
"""
