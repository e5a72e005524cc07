"""The tools of the practice MCP server, with the names, arguments and results of GitHub's."""

from workshop.servers.practice.tools.issues import TOOLS as ISSUES
from workshop.servers.practice.tools.repositories import TOOLS as REPOSITORIES
from workshop.servers.practice.tools.searching import TOOLS as SEARCHING

ALL_TOOLS = (*SEARCHING, *REPOSITORIES, *ISSUES)
