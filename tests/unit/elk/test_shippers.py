"""The shippers' files have the structure that their programs expect.

tests/real_parts/ runs rsyslog, Filebeat and the Collector; Logstash is not available there.
"""

import re
from typing import Any

import pytest

from django_partisan.logs.fields import COMMON
from django_partisan.logs.table import LOG_EVENTS
from tests.unit.elk import files

STREAM = "logs-partisan.events-default"
PATHS = ["/var/log/partisan/*.log", "/var/log/partisan/*.log.1"]
FILEBEAT = ("filebeat/filebeat.yml", "filebeat/filebeat-to-logstash.yml")
LOGSTASH = (files.ELK / "logstash" / "partisan.conf").read_text()
COLLECTOR = files.read_yaml("collector/collector.yaml")
VECTOR = files.read_yaml("vector/vector.yaml")
ALLOY = (files.ELK / "alloy" / "config.alloy").read_text()
KNOWN_FIELDS = {field.name for field in COMMON} | {
    field.name for event in LOG_EVENTS.values() for field in event.fields
}
RSYSLOG = (files.ELK / "rsyslog" / "partisan.conf").read_text()


def _operators() -> dict[str, dict[str, Any]]:
    return {operator["type"]: operator for operator in COLLECTOR["receivers"]["filelog"]["operators"]}


@pytest.mark.parametrize("name", FILEBEAT)
def test_filebeat_reads_the_log_files_as_json_into_the_root(name: str) -> None:
    [source] = files.read_yaml(name)["filebeat.inputs"]
    [parser] = source["parsers"]

    assert source["type"] == "filestream"
    assert source["id"] == "partisan"
    assert source["paths"] == PATHS
    assert parser["ndjson"] == {
        "target": "",
        "overwrite_keys": True,
        "expand_keys": True,
        "add_error_key": True,
    }


def test_filebeat_writes_to_the_data_stream_under_the_id_of_the_event() -> None:
    config = files.read_yaml(FILEBEAT[0])
    [processor] = config["processors"]
    [by_event], [by_place] = processor["then"], processor["else"]

    assert config["output.elasticsearch"]["index"] == STREAM
    assert by_event["fingerprint"] == {"fields": ["event.id"], "target_field": "@metadata._id"}
    assert by_place["fingerprint"]["target_field"] == "@metadata._id"
    assert config["setup.template.enabled"] is False
    assert config["setup.ilm.enabled"] is False


def test_filebeat_and_logstash_meet_at_one_port() -> None:
    [host] = files.read_yaml(FILEBEAT[1])["output.logstash"]["hosts"]

    assert host.endswith(":5044}")
    assert re.search(r"beats \{\s*port => 5044\b", LOGSTASH)


def test_logstash_does_not_parse_the_lines_again() -> None:
    assert "json" not in re.sub(r"#.*", "", LOGSTASH).lower()


def test_logstash_writes_to_the_data_stream_under_the_id_of_the_event() -> None:
    settings = dict(re.findall(r"^\s+(\w+) => \"([^\"]*)\"$", LOGSTASH, re.MULTILINE))

    assert settings["data_stream"] == "true"
    names = (settings[f"data_stream_{part}"] for part in ("type", "dataset", "namespace"))
    assert "-".join(names) == STREAM
    assert settings["document_id"] == "%{[event][id]}"


def test_logstash_has_balanced_braces() -> None:
    code = re.sub(r'"[^"]*"|#.*', "", LOGSTASH)

    assert code.count("{") == code.count("}") == 7


def test_logstash_keeps_what_elasticsearch_refuses() -> None:
    assert files.read_yaml("logstash/logstash.yml")["dead_letter_queue.enable"] is True


def test_the_collector_parses_json_time_severity_and_trace() -> None:
    operators = _operators()

    assert COLLECTOR["receivers"]["filelog"]["include"] == PATHS
    assert operators["json_parser"]["timestamp"]["parse_from"] == 'body["@timestamp"]'
    assert operators["json_parser"]["severity"]["parse_from"] == 'body["log.level"]'
    assert operators["trace_parser"]["trace_id"]["parse_from"] == 'body["trace.id"]'
    assert operators["trace_parser"]["span_id"]["parse_from"] == 'body["span.id"]'


def test_the_collector_writes_the_line_itself_under_the_id_of_the_event() -> None:
    exporter = COLLECTOR["exporters"]["elasticsearch"]

    assert exporter["logs_index"] == STREAM
    assert "mapping" not in exporter  # ignored since 0.145, which uses the scope's attribute
    assert exporter["logs_dynamic_id"]["enabled"] is True
    assert _operators()["copy"]["to"] == 'attributes["elasticsearch.document_id"]'


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_the_collector_defines_what_its_pipelines_use_and_uses_what_it_defines(kind: str) -> None:
    used = {name for pipeline in COLLECTOR["service"]["pipelines"].values() for name in pipeline[kind]}

    assert used == COLLECTOR[kind].keys()


def test_the_collector_starts_the_extensions_that_it_defines() -> None:
    assert set(COLLECTOR["service"]["extensions"]) == COLLECTOR["extensions"].keys()


def test_rsyslog_writes_to_the_same_data_stream_from_the_same_files() -> None:
    assert f'searchIndex="{STREAM}"' in RSYSLOG
    assert re.findall(r'input\(type="imfile" file="([^"]+)"', RSYSLOG) == PATHS


def test_vector_reads_the_same_files_and_writes_to_the_same_data_stream_under_the_id_of_the_event() -> None:
    source, parsed = VECTOR["sources"]["partisan"], VECTOR["transforms"]["partisan_event"]
    sink = VECTOR["sinks"]["partisan_elasticsearch"]
    stream = sink["data_stream"]

    assert source["include"] == PATHS
    assert source["fingerprint"]["strategy"] == "device_and_inode"
    assert f'.{sink["id_key"]} = ."event.id"' in parsed["source"]
    assert "-".join(stream[part] for part in ("type", "dataset", "namespace")) == STREAM
    assert (sink["mode"], sink["bulk"]["action"]) == ("data_stream", "create")
    assert (stream["auto_routing"], stream["sync_fields"]) == (False, False)


def test_vector_connects_what_it_defines() -> None:
    outputs = {"partisan", "partisan_event", "partisan_event.dropped"}
    read = {
        name for kind in ("transforms", "sinks") for one in VECTOR[kind].values() for name in one["inputs"]
    }

    assert read == outputs


def test_vector_needs_neither_variables_nor_templates_which_vector_0_57_refuses() -> None:
    text = (files.ELK / "vector" / "vector.yaml").read_text()

    assert "${" not in text
    assert "{{" not in text


def test_what_vector_cannot_parse_goes_to_a_file_that_it_does_not_read() -> None:
    kept = VECTOR["sinks"]["partisan_unparsed"]

    assert VECTOR["transforms"]["partisan_event"]["reroute_dropped"] is True
    assert kept["inputs"] == ["partisan_event.dropped"]
    assert not kept["path"].endswith((".log", ".log.1"))


def _alloy_map(block: str, argument: str) -> dict[str, str]:
    [found] = re.findall(rf"{block} {{\s*{argument} = {{(.*?)\n    }}", ALLOY, re.DOTALL)
    return dict(re.findall(r'^\s*(\w+)\s*= "(.*)",$', found, re.MULTILINE))


def test_alloy_reads_the_same_files_and_takes_fields_that_lines_have() -> None:
    expressions = _alloy_map("stage.json", "expressions")

    assert re.findall(r'__path__ = "([^"]+)"', ALLOY) == PATHS
    assert all(re.fullmatch(r'\\"[@\w.]+\\"', path) for path in expressions.values())
    assert {path.strip('\\"') for path in expressions.values()} <= {*KNOWN_FIELDS}


def test_alloy_makes_labels_of_what_has_few_values_only() -> None:
    extracted = _alloy_map("stage.json", "expressions").keys()

    assert _alloy_map("stage.labels", "values").keys() == {"level", "queue"}
    assert _alloy_map("stage.labels", "values").keys() <= extracted
    assert _alloy_map("stage.structured_metadata", "values").keys() <= extracted


def test_alloy_drops_the_name_of_the_file_so_that_a_rotated_line_is_the_same_line() -> None:
    assert re.search(r'stage\.label_drop {\s*values = \["filename"\]', ALLOY)


@pytest.mark.parametrize(
    ("line", "dropped"),
    [('{"message": "a"}', False), ("Traceback (most recent call last):", True), ("", True)],
)
def test_alloy_drops_lines_that_are_no_json_object(line: str, dropped: bool) -> None:
    [expression] = re.findall(r'stage\.drop {\s*expression = "(.*)"', ALLOY)

    assert bool(re.search(expression.replace("\\\\", "\\"), line)) is dropped


def test_alloy_connects_what_it_defines() -> None:
    defined = set(re.findall(r'^([\w.]+) "(\w+)" {$', ALLOY, re.MULTILINE))
    used = set(re.findall(r"\b(local\.file_match|loki\.process|loki\.write)\.(\w+)\.", ALLOY))

    assert used == defined - {("loki.source.file", "partisan")}
    assert ALLOY.count("{") == ALLOY.count("}")
