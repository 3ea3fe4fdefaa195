"""What ``partisan_status`` shows: a report, and how it is written for people, programs and Prometheus."""
