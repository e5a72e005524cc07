"""Requests to one cluster's API server, tried again while it is busy; a refusal becomes one of our errors."""

import json
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.errors import UsageError
from workshop.lab.kube.objects import Object, without_nulls
from workshop.lab.kube.refusals import Refusal, error_of, passes, read, unexpected, unreachable

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient

# Seconds to connect, and to the next byte: a server that hangs must not hold a wait beyond its bound.
_TIMEOUT = (5.0, 20.0)
_PAUSE_SECONDS = 0.5
_ATTEMPTS = 3  # while the API server has not answered once: it may not be there at all
_PATIENT_ATTEMPTS = 6  # an API server that has answered and now does not is busy or starts again
_PATIENCE_SECONDS = 30.0  # the most that is waited for one request when the server says how long
# Never through a proxy, as with kubectl and Helm: kind's API server is on this machine.
_DIRECT = "localhost,127.0.0.0/8,::1"


class Waits:
    """The waits between the attempts of one request."""

    def __init__(self) -> None:
        self._attempts = 0
        self._waited = 0.0
        self.answer_lost = False  # an attempt without an answer may have been carried out

    def after(self, refusal: Refusal) -> float | None:
        """Seconds until the next attempt after a refusal that may pass; None when there is none."""
        if refusal.retry_after is None:
            return self._next(_PATIENT_ATTEMPTS)
        self._waited += max(refusal.retry_after, 1)
        return refusal.retry_after if self._waited <= _PATIENCE_SECONDS else None

    def without_answer(self, has_answered: bool) -> float | None:  # noqa: FBT001 - the only thing it depends on
        """Seconds until the next attempt after none was answered; None when there is none."""
        self.answer_lost = True
        return self._next(_PATIENT_ATTEMPTS if has_answered else _ATTEMPTS)

    def _next(self, most: int) -> float | None:
        self._attempts += 1
        return _PAUSE_SECONDS * self._attempts if self._attempts < most else None


class Connection:
    """One context of a kubeconfig; neither that file nor its current context is ever changed."""

    def __init__(self, kubeconfig: Path, context: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._has_answered = False

    def ask(self, doing: str, method: str, path: str, **params: object) -> Object:
        """The JSON object of a successful answer, without its null members: null and absent are one to us."""
        body = self.request(doing, method, path, **params)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise unexpected(doing, body)
        found: Object = without_nulls(answer)
        return found

    def request(self, doing: str, method: str, path: str, **params: object) -> bytes:
        """The body of a successful answer; `doing` completes "The cluster refused to"."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        given = {key: value for key, value in params.items() if value is not None}
        waits = Waits()
        while True:
            try:
                answer = self._client.request(
                    method, path, serialize=False, _request_timeout=_TIMEOUT, **given
                )
            except ApiException as refused:
                self._has_answered = True
                refusal = read(refused.status, refused.reason, refused.body, refused.headers)
                wait = waits.after(refusal) if passes(refusal, method, path, given.get("body")) else None
                if wait is None:
                    raise error_of(refusal, doing, answer_lost=waits.answer_lost) from refused
            except HTTPError as problem:
                wait = waits.without_answer(self._has_answered)
                if wait is None:
                    raise unreachable(self._client.configuration.host, problem) from problem
            else:
                self._has_answered = True
                return bytes(answer.data)
            time.sleep(wait)

    @cached_property
    def _client(self) -> "DynamicClient":
        import urllib3
        from kubernetes.client import Configuration
        from kubernetes.config import ConfigException, new_client_from_config
        from kubernetes.dynamic import DynamicClient
        from yaml import YAMLError

        configuration = Configuration()
        configuration.retries = False  # ours wait between two tries
        configuration.no_proxy = ",".join(filter(None, [configuration.no_proxy, _DIRECT]))
        try:
            client = new_client_from_config(  # type: ignore[no-untyped-call]  # the package has no types here
                str(self._kubeconfig),
                self._context,
                persist_config=False,
                client_configuration=configuration,
            )
        except (
            ConfigException,
            YAMLError,
            OSError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:
            raise UsageError(
                f"Cannot use the kubeconfig `{self._kubeconfig}`",
                why=" ".join(str(error).split())[:200],
                hint="`kubectl config get-contexts` lists what it has",
            ) from error
        if (
            not configuration.verify_ssl
        ):  # the kubeconfig says so; kubectl does not warn at each request either
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return DynamicClient(client, discoverer=_no_discovery)  # type: ignore[no-untyped-call]  # same


def _no_discovery(_client: object, _cache_file: object) -> None:
    """The package's discoverers keep what they find in a file under the system's temporary directory.

    It is named after the server's address alone: a cluster made anew at the same address would be read from
    the old one's. `Kinds` asks instead.
    """
