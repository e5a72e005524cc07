"""The tools of the practice MCP server: GitHub's names, arguments and results."""

from workshop.servers.practice.tools.account import TOOLS as ACCOUNT
from workshop.servers.practice.tools.commits import TOOLS as COMMITS
from workshop.servers.practice.tools.files import TOOLS as FILES
from workshop.servers.practice.tools.issue_reading import TOOLS as ISSUE_READING
from workshop.servers.practice.tools.issue_writing import TOOLS as ISSUE_WRITING
from workshop.servers.practice.tools.searching import TOOLS as SEARCHING

ALL_TOOLS = (*ACCOUNT, *SEARCHING, *COMMITS, *FILES, *ISSUE_READING, *ISSUE_WRITING)
