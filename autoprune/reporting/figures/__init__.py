"""Figures of a run: functions from plain data to plotly figures, for pages and dashboards."""
