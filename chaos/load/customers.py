"""The customers of the load test, run by Locust: each of its users has one
channel, writes, waits for the answer, pauses as a person does, and makes room for
somebody new after one to three messages.

FTE_LOAD is a JSON object: the ready line of `fte dev`, with messages, the file
that gets a line for each message, and seed."""

import itertools
import json
import os
import random
import sys
import time
import uuid
from datetime import datetime

import gevent
import requests
from gevent.event import AsyncResult
from locust import FastHttpUser, between, events, task

run = json.loads(os.environ["FTE_LOAD"])
dice = random.Random(run["seed"])
numbers = itertools.count()  # of customers
messages = open(run["messages"], "w", encoding="utf-8", buffering=1)
zero = time.monotonic_ns()
counts = {"sent": 0, "answered": 0, "failed": 0}

PATIENCE = 60  # seconds that a customer waits for the answer
NEVER = 2**63 - 1  # when an answer to the request came that never came
LOOK = 1  # seconds between two looks at a form's ticket

QUESTIONS = [
    "How do I reset my password?",
    "How do I invite a colleague to my workspace?",
    "How do I export my boards?",
    "How do I switch on two-factor authentication?",
    "How do I remove a member?",
    "How do I change the language?",
    "How do I delete a workspace?",
    "How do I connect Slack?",
    "How do I import cards from a CSV file?",
    "How do I create an API key?",
]


def clock():
    """Nanoseconds on the clock of the history."""
    return time.monotonic_ns() - zero


class Deliveries:
    """What the vendors delivered, read for all customers at once."""

    def __init__(self):
        self.waiting = {}  # AsyncResult by the address that waits
        self.seen = 0

    def expect(self, address):
        self.waiting[address] = AsyncResult()
        return self.waiting[address]

    def watch(self):
        http = requests.Session()
        while True:
            gevent.sleep(0.25)
            try:
                sent = http.get(f"{run['sim']}/_ctl/sent", params={"after": self.seen}, timeout=10).json()
            except (requests.RequestException, ValueError) as err:
                print(f"read what was delivered: {err}", file=sys.stderr)
                continue
            for s in sent:
                self.seen = max(self.seen, s["n"])
                if found := self.waiting.pop(s["to"], None):
                    found.set(datetime.fromisoformat(s["at"]).timestamp())


deliveries = Deliveries()


@events.test_start.add_listener
def start(environment, **_):
    gevent.spawn(deliveries.watch)
    gevent.spawn(progress, environment)


def progress(environment):
    while True:
        gevent.sleep(10)
        print(f"{clock() // 10**9:4d} s: {environment.runner.user_count} customers, {counts['sent']} messages, {counts['answered']} answered, {counts['failed']} failed", flush=True)


class Customer(FastHttpUser):
    abstract = True
    host = run["sim"]
    wait_time = between(10, 30)
    channel = ""
    left = 0  # messages until this customer is done

    @task
    def ask(self):
        if self.left == 0:
            self.number, self.left = next(numbers), dice.randint(1, 3)
        self.left -= 1
        m = {"client": f"{self.number}/{self.channel}", "customer": str(self.number), "channel": self.channel, "address": self.address(), "external_id": "", "message": uuid.UUID(int=dice.getrandbits(128), version=4).hex}
        counts["sent"] += 1
        began, m["call"] = time.time(), clock()
        m["status"] = self.write(m, dice.choice(QUESTIONS))
        back = clock()
        m["outcome"] = "ok" if m["status"] == 200 else "fail" if m["status"] // 100 == 4 and self.channel == "webform" else "unknown"
        m["return"] = back if m["status"] == 200 else NEVER
        m["took"] = back - m["call"]
        if m["status"] == 200 and (at := self.answer(m)):
            m["answered"] = int((at - began) * 1e9)
        counts["answered" if "answered" in m else "failed"] += 1
        events.request.fire(request_type="answer", name=self.channel, response_time=m.get("answered", 0) / 1e6, response_length=0, context={},
                            exception=None if "answered" in m else TimeoutError("no answer"))
        messages.write(json.dumps(m) + "\n")

    def post(self, url, **request):
        """Makes the request that hands a message in; its status and what it said."""
        with self.client.post(url, name=self.channel, catch_response=True, **request) as r:
            try:
                said = r.json()
            except ValueError:
                said = {}
            status = said.get("webhook_status", r.status_code or 0) if r.status_code == 200 else r.status_code or 0
            if status == 200:
                r.success()
            else:
                r.failure(f"status {status}")
            return status, said

    def answer(self, m):
        """When the answer was with the customer; None when it did not come."""
        try:
            return self.expected.get(timeout=PATIENCE)
        except gevent.Timeout:
            return None


class WhatsApp(Customer):
    """Writes by WhatsApp: the vendor calls the signed webhook."""

    channel = "whatsapp"

    def address(self):
        return f"whatsapp:+1415{2_000_000 + self.number:07d}"

    def write(self, m, text):
        m["external_id"] = "SM" + m["message"]
        self.expected = deliveries.expect(m["address"])
        return self.post("/_ctl/whatsapp/inbound", data={"From": m["address"], "Body": text, "MessageSid": m["external_id"], "ProfileName": f"Customer {self.number}"})[0]


class Mail(Customer):
    """Writes by e-mail: it is accepted once it lies in the mailbox."""

    channel = "email"

    def address(self):
        return f"c{self.number}@load.example.org"

    def write(self, m, text):
        m["message_id"] = m["message"] + "@load.example.org"
        raw = (f"From: Customer {self.number} <{m['address']}>\r\nTo: {run['mailbox']}\r\nSubject: Question {m['message'][:8]}\r\nMessage-ID: <{m['message_id']}>\r\n"
               f"Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n")
        self.expected = deliveries.expect(m["address"])
        status, said = self.post("/_ctl/gmail/inbound", data=raw, headers={"Content-Type": "message/rfc822"})
        if status == 200:
            m["external_id"], m["thread_id"] = f"{run['mailbox']}/{said['id']}", said["threadId"]
        return status


class Form(Customer):
    """Fills the form in and looks at its ticket."""

    channel = "webform"

    def address(self):
        return f"f{self.number}@load.example.org"

    def write(self, m, text):
        form = {"name": f"Customer {self.number}", "email": m["address"], "subject": f"Question {m['message'][:8]}", "category": "general", "priority": "medium", "message": text}
        self.api = run["apis"][self.number % len(run["apis"])]
        status, said = self.post(self.api + "/support/submit", json=form, headers={"X-Site-Key": run["site_key"], "Idempotency-Key": str(uuid.UUID(m["message"]))})
        if status == 200:
            m["external_id"], m["token"] = said["ticket_id"], said["access_token"]
        return status

    def answer(self, m):
        header = {"Authorization": "Bearer " + m["token"]}
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            gevent.sleep(LOOK)
            r = self.client.get(f"{self.api}/support/ticket/{m['external_id']}", headers=header, name="webform ticket")
            if r.status_code == 200:
                header["If-None-Match"] = r.headers["ETag"]
                if r.json()["status"] == "answered":
                    return time.time()
        return None
