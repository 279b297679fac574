"""The tables of the papers, with ours beside every number.

What the papers print is quoted from `printed.json`, and never mixed with what is measured here. A
job can be stopped anywhere and goes on behind the rows that are done.
"""

from echoflow.reproduce.job import Job
from echoflow.reproduce.printed import Printed, printed
from echoflow.reproduce.sheet import Sheet
from echoflow.reproduce.tables import TABLES, reproduce

__all__ = ["TABLES", "Job", "Printed", "Sheet", "printed", "reproduce"]
