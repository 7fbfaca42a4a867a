"""The registry of error codes: every code, its severity, its cause and its fix.

Why one literal table: a code never changes its meaning, the runbook page and the journal catalog are made from these
rows, and an error elsewhere can only be raised with a number that stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error", "critical"]


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the registry. `retryable`: the same request may succeed later without anybody's help."""

    number: int
    severity: Severity
    cause: str
    fix: str
    retryable: bool = False

    @property
    def name(self) -> str:
        """`BSR-1003`."""
        return f"BSR-{self.number}"


# fmt: off
_ROWS = (
    # 1xxx: configuration
    Code(1001, "critical", "the configuration file cannot be read", "check that the file exists and that the service user may read it"),
    Code(1002, "critical", "the file is not well-formed YAML", "mend the line shown; quote text that holds ': ' or starts with a special character"),
    Code(1003, "critical", "unknown key", "remove the key or correct its spelling; 'bseries-relay config reference' lists all keys"),
    Code(1004, "critical", "a key is given twice", "keep one of the two"),
    Code(1005, "critical", "anchors, aliases, merge keys and tags are not allowed", "write the value out where it is needed"),
    Code(1006, "critical", "the value is not of the kind that this key takes", "write a value of the kind that the message names"),
    Code(1007, "critical", "a required key is missing", "add the key"),
    Code(1008, "critical", "a secret is written as a literal", "put the secret in a file or a systemd credential and write {file: PATH} or {credential: NAME}"),
    Code(1009, "critical", "a secret or a key file cannot be read", "check the name or path, and that the service user may read it"),
    Code(1010, "critical", "a file that must be private can be read or changed by others", "chmod it so that only its owner (and for reading the service's group) has access"),
    Code(1011, "critical", "the document is too large or not UTF-8", "keep each file under 1 MiB of UTF-8 text"),
    Code(1012, "critical", "only true and false are booleans", "write true or false"),
    Code(1013, "critical", "an operation of the policy is not well defined", "mend the operation as the message says"),
    Code(1014, "critical", "policy.allow names something that does not exist", "use the name of an operation or group; 'bseries-relay policy list' shows them"),
    Code(1015, "critical", "a narrowed built-in operation would allow more than it did", "only tighten the built-in operation, or define one under a name of your own"),
    Code(1016, "critical", "keys contradict each other", "keep what the message says"),
    Code(1017, "warning", "the configuration asks for a part that this version does not have", "remove the section, or install a version that has the part"),
    Code(1018, "warning", "environment variables for proxies or certificates are set and ignored", "write proxies and CA files in the configuration"),
    Code(1019, "warning", "the configuration on disk differs from the one in use", "run 'bseries-relay config check', then 'bseries-relay reload'"),
    Code(1020, "error", "a reload cannot apply this", "restart the relay; it then reads the whole configuration anew"),
    Code(1021, "warning", "the metrics address cannot be listened on", "free the address, or change metrics.listen and reload; the relay tries again by itself", retryable=True),
    Code(1022, "warning", "the command cannot be carried out", "do as the message says; 'bseries-relay status' and 'bseries-relay jobs list' show what there is"),
    Code(1023, "error", "another relay answers on this control socket", "name the configuration of the relay that is meant with --config"),
    Code(1024, "critical", "a private key is not of the kind that is needed here", "give a PEM private key without a pass phrase: RSA of 2048 bits or more, made anew if need be"),
    Code(1025, "error", "a secret or certificate was changed and cannot be used; the former one stays in use", "write the file whole, readable by the service user and by no others; the relay looks again by itself", retryable=True),
    Code(1026, "warning", "the relay's own certificate ends within 30 days", "renew it and replace the file; the relay takes it over by itself"),
    Code(1027, "error", "the relay's own certificate ends within 7 days or has ended", "renew it now and replace the file; the relay takes it over by itself"),
    Code(1028, "critical", "a key that signs work is too short, or is given twice", "make one of 32 random bytes, as 'openssl rand -base64 32' does, and give it to the relay and to ServiceNow"),
    Code(1029, "warning", "other processes on this machine could read the relay's memory", "run the relay by its unit; where prctl or setrlimit is forbidden to it, let them through"),
    # 2xxx: the ServiceNow side
    Code(2001, "error", "ServiceNow cannot be reached", "check DNS, proxy and firewall for the instance's host and port", retryable=True),
    Code(2002, "error", "the TLS handshake with ServiceNow failed", "check servicenow.tls (CA file, pins, minimum version) and the clock", retryable=True),
    Code(2003, "warning", "ServiceNow did not answer in time", "if it stays so, look at the instance's load or raise servicenow.timeout", retryable=True),
    Code(2004, "warning", "the connection to ServiceNow broke before the answer was complete", "if it stays so, look at proxies and firewalls between", retryable=True),
    Code(2005, "error", "ServiceNow refused the credentials", "check servicenow.auth and that the user is active and not locked out", retryable=True),
    Code(2006, "error", "the relay's ServiceNow user lacks a right", "give the user the role mid_server and read access to its tables", retryable=True),
    Code(2007, "warning", "ServiceNow's rate limit is reached", "raise the rate limit rule for the relay's user, or the poll interval", retryable=True),
    Code(2008, "warning", "ServiceNow answered with a server error", "look at the instance's system log for the time shown", retryable=True),
    Code(2009, "error", "ServiceNow answered with a page instead of the API", "wake the instance if it hibernates; check servicenow.url and login redirects", retryable=True),
    Code(2010, "warning", "ServiceNow cancelled the transaction", "look at the instance's transaction quotas", retryable=True),
    Code(2011, "warning", "ServiceNow's answer is not complete JSON", "if it stays so, look at proxies between that change answers", retryable=True),
    Code(2012, "warning", "ServiceNow did not serve every part of a batch", "none needed: the relay asks again with a smaller batch", retryable=True),
    Code(2013, "critical", "another program answers the records of this agent", "stop the other poller or give the relay its own name, then run 'bseries-relay resume'"),
    Code(2014, "error", "ServiceNow's answer is larger than the relay reads", "none needed: the relay asks again for less", retryable=True),
    Code(2015, "error", "ServiceNow rejected the request", "look at the message; a business rule or data policy of the instance may forbid it"),
    Code(2016, "info", "the record no longer exists in ServiceNow or is hidden from the relay's user", "none needed, unless records vanish that should not"),
    Code(2017, "error", "ServiceNow refused to issue an OAuth token", "check the OAuth application's client id, secret and allowed grant type; with oauth_jwt also its key, key_id and subject", retryable=True),
    Code(2018, "warning", "the relay's ecc_agent record cannot be kept current", "give the relay's user write access to ecc_agent, or set servicenow.register to false", retryable=True),
    Code(2019, "error", "ServiceNow returned records that were not asked for", "check that the agent, queue and state columns of ecc_queue exist and are readable", retryable=True),
    Code(2020, "error", "the proxy refused the connection to ServiceNow", "check servicenow.proxy and the proxy's rules", retryable=True),
    Code(2021, "warning", "this machine's clock jumped or differs from ServiceNow's by more than five minutes", "let NTP set this machine's clock; sweeping and signature checks wait"),
    Code(2022, "warning", "a certificate on the way to ServiceNow ends within 30 days", "tell those who run the server or proxy that the message names to renew it"),
    Code(2023, "error", "a certificate on the way to ServiceNow ends within 7 days", "have it renewed now: no work is done once it has ended"),
    Code(2024, "error", "the proxy to ServiceNow asks for an account, or refused the one it was given", "check username and password of servicenow.proxy with those who run the proxy", retryable=True),
    Code(2025, "warning", "ServiceNow's clock is not known, so no signature can be judged", "none needed, unless it stays so: then look whether a proxy takes the Date header away", retryable=True),
    Code(2026, "warning", "a checkpoint of the audit log cannot be written to ServiceNow", "let the relay's user create records in audit.anchor.table; its column needs room for 1000 characters", retryable=True),
    Code(2027, "error", "the vendor's application in ServiceNow does not take what the relay posts on", "by the status: at 401 or 403 compare event_token with the application's, and let it accept the relay's address; at 400 or 404 install or activate it, or set sessions.mode to import", retryable=True),
    Code(2028, "error", "a table that sessions.tables names is not in ServiceNow", "make the table, or correct its name; until then sessions wait, and none is lost. With tables: auto they come without rows", retryable=True),
    Code(2029, "error", "ServiceNow lacks a table or column that the configuration names", "correct the key that the message names, or make the table or column in ServiceNow"),
    # 3xxx: the appliance side
    Code(3001, "error", "the appliance cannot be reached", "check DNS and firewall for the appliance's host on its port", retryable=True),
    Code(3002, "error", "the TLS handshake with the appliance failed", "check the appliance's tls section (CA file, pins, minimum version) and the clock", retryable=True),
    Code(3003, "warning", "the appliance did not answer in time", "look at the appliance's load or raise its timeout", retryable=True),
    Code(3004, "warning", "the connection to the appliance broke before the answer was complete", "look at firewalls between", retryable=True),
    Code(3005, "error", "the appliance refused the API account", "check client_id and client_secret, and the account's allowed addresses and permissions", retryable=True),
    Code(3006, "error", "calls wait because the appliance refused the API account several times", "mend the account; the relay waits so that it does not lock the account", retryable=True),
    Code(3007, "warning", "the appliance's rate limit is reached", "spread the calls, or lower the load of other users of this API account", retryable=True),
    Code(3008, "error", "the appliance's answer is larger than allowed", "narrow the call, or raise response_bytes (and servicenow.answer_bytes)"),
    Code(3009, "error", "the appliance's answer cannot be decoded", "look at the appliance's software and proxies between"),
    Code(3010, "error", "outcome unknown: the call may have taken effect and is not repeated", "look at the appliance whether it took effect before asking again"),
    Code(3011, "warning", "the hourly budget of the API account is used up", "wait, or lower the load", retryable=True),
    Code(3012, "error", "the appliance is disabled in the configuration", "set enabled: true for it"),
    Code(3013, "error", "the appliance answered with a kind of content that the operation does not allow", "check the operation's response types"),
    Code(3014, "error", "the proxy refused the connection to the appliance", "check the appliance's proxy section and the proxy's rules", retryable=True),
    Code(3015, "error", "the appliance issued no token, without refusing the account", "look at the appliance's health; /oauth2/token must answer", retryable=True),
    Code(3016, "warning", "a certificate on the way to the appliance ends within 30 days", "renew the certificate of the server or proxy that the message names"),
    Code(3017, "error", "a certificate on the way to the appliance ends within 7 days", "renew it now: no call is made once it has ended"),
    Code(3018, "error", "the proxy to the appliance asks for an account, or refused the one it was given", "check username and password of the appliance's proxy section with those who run the proxy", retryable=True),
    Code(3019, "error", "the appliance answered a question about sessions with an error", "look at the appliance's words; check that the session still exists there and that the API account may read reports"),
    Code(3020, "warning", "the appliance has had no end of the session, or no report of it, for too long", "look at the session on the appliance; once it has ended there, 'bseries-relay jobs retry' imports it"),
    Code(3021, "warning", "the appliance no longer has the recording", "it keeps recordings for some time only; 'bseries-relay jobs discard' ends the job, everything else of the session is in ServiceNow"),
    Code(3022, "warning", "the recording is larger than recordings may be", "raise sessions.recording_bytes and reload, then 'bseries-relay jobs retry'; or discard the job"),
    Code(3023, "error", "the place that a request for approval names for its answer is not the appliance's", "add the host to the appliance's also_known_as, or correct approvals.response_path, if the appliance really waits there; else find out who posts such requests"),
    Code(3024, "error", "the appliance did not take the decision on a request for approval in time", "look at the appliance's words in the log; compare approvals.encoding and approvals.response_path with its release, and look at the network between"),
    Code(3025, "warning", "the appliance's clock differs from this machine's by more than five minutes", "let NTP set both clocks; the ends of sessions are told by the appliance's"),
    Code(3026, "warning", "the API account lacks a permission that the configuration needs", "give it the permission at the appliance (Management, API Configuration), or take what needs it out of policy.allow or sessions"),
    Code(3027, "error", "the appliance is of another product than the configuration says", "correct the appliance's product: pra for Privileged Remote Access, rs for Remote Support"),
    Code(3028, "warning", "the appliance says that it is not well", "look at the appliance's own health page; /check_health answers with a reason"),
    # 4xxx: policy and bad work
    Code(4001, "warning", "the relay does not do this kind of work", "use RESTProbe or BSeriesProbe"),
    Code(4002, "warning", "the operation is not allowed by the policy", "add the operation or its group to policy.allow if it should be"),
    Code(4003, "warning", "no operation of the policy fits this call", "compare with 'bseries-relay policy list'; 'policy test' tells why"),
    Code(4004, "warning", "an argument is not acceptable", "correct the argument as the message says"),
    Code(4005, "warning", "unknown argument", "leave the argument out; 'bseries-relay policy list' shows what the operation takes"),
    Code(4006, "warning", "the payload is not well-formed", "correct the script that writes the record"),
    Code(4007, "warning", "the payload is larger than the relay reads", "send less than 1 MiB in one record"),
    Code(4008, "warning", "no configured appliance fits this call", "name an appliance of the configuration, or use its host name"),
    Code(4009, "warning", "the operation's own rate limit is reached", "wait, or raise per_minute"),
    Code(4012, "warning", "the record was too old to be executed", "send it again if it is still wanted"),
    Code(4013, "warning", "an administrator discarded the job", "ask the administrator of the relay for the reason"),
    Code(4014, "warning", "the relay refuses this system command", "only pauseMid, resumeMid and getResourceState are served"),
    Code(4015, "error", "the answer is larger than ServiceNow may be given", "narrow the call, or raise servicenow.answer_bytes"),
    Code(4016, "error", "ServiceNow refused the answer's record", "look at the instance's log; the full answer could not be delivered"),
    Code(4017, "warning", "the work must be signed and is not", "sign it as the page on signed work says"),
    Code(4018, "warning", "the signature is not well-formed", "correct the script that signs as the page on signed work says"),
    Code(4019, "warning", "the work is signed with a key that the relay does not have", "give the key to the relay in servicenow.signature_keys, or sign with one that it has"),
    Code(4020, "error", "the signature does not fit the work", "if the script that signs is right ('bseries-relay policy test --json' shows what it must sign), the record was changed: find out by whom"),
    Code(4021, "warning", "the work was signed too long ago, or in the future", "sign when the record is written; compare the clocks of ServiceNow's nodes"),
    Code(4022, "error", "the signature was used by another record already", "sign each record anew with a nonce of its own; if nobody did that twice, the record is a copy: find out who made it"),
    Code(4023, "warning", "no request for approval waits for this decision", "check response_id; decisions are taken only on requests that the relay forwarded, with approvals.mode: forward"),
    Code(4024, "warning", "the request for approval is decided already", "none needed, unless decisions come too late: they must come within approvals.deadline"),
    # 5xxx: storage and audit
    Code(5001, "critical", "the store cannot be opened", "check the state folder's owner, mode and mount", retryable=True),
    Code(5002, "critical", "the store is damaged", "stop the relay, keep the folder, restore or move the store away; open records are found again in ServiceNow"),
    Code(5003, "critical", "the store was written by a newer version", "install that version again, or restore the older store"),
    Code(5004, "critical", "the disk is full, or nearly so", "free space on the file system of the state folder", retryable=True),
    Code(5005, "critical", "a write to disk failed", "look at the kernel's log; the relay stops and starts again from what the disk holds"),
    Code(5006, "critical", "another relay uses the state folder", "stop the other one, or give this one its own storage.directory", retryable=True),
    Code(5007, "critical", "the audit log cannot be written", "check space and rights of the audit folder", retryable=True),
    Code(5008, "critical", "a stored body was encrypted with a key that is not here", "give the key back as storage.key or storage.former_key; nothing is deleted meanwhile", retryable=True),
    Code(5009, "critical", "the storage key cannot be made or read", "give storage.key, or make the key's folder writable"),
    Code(5010, "warning", "the audit log ended in a torn line, which was set aside", "none needed: the line belonged to no effect"),
    Code(5011, "critical", "the audit log does not verify", "keep the folder for the investigation; 'bseries-relay audit verify' names the first bad line"),
    Code(5012, "error", "the audit log's signing key cannot be used, so its checkpoints are not signed", "give the key file back, or make a new key with 'bseries-relay audit key --rotate'", retryable=True),
    Code(5013, "warning", "the storage key is one that the relay made for itself", "give storage.key as a credential; until then keep that file safe, and apart from copies of the state folder"),
    Code(5014, "error", "the folder of recordings cannot be used", "look at sessions.recording_folder: it must be there, be mounted, and let the relay's user write; under systemd name it in ReadWritePaths", retryable=True),
    # 6xxx: the listener
    Code(6001, "error", "the listener's address cannot be listened on", "free the address, or change listener.listen and reload; the relay tries again by itself", retryable=True),
    Code(6002, "warning", "something that is no appliance of the configuration calls the listener", "if it is an appliance, add its address to accept_from; else find out who calls"),
    Code(6003, "warning", "a post came with a wrong token, or with none", "compare outbound_event_token in the recipient's URL at the appliance with event_token"),
    Code(6004, "warning", "a post cannot be read", "it is kept; look at what the appliance's recipient or ticket system is set to send"),
    Code(6005, "warning", "a post is larger than the relay reads", "its beginning is kept; send fewer custom fields, and only events that are used"),
    Code(6006, "warning", "the PROXY protocol is spoken where it is not allowed, not spoken where it must be, or spoken wrongly", "name in listener.proxy_protocol_from those load balancers that speak it, and no others"),
    Code(6007, "warning", "more connections to the listener than it takes", "look who calls so often; the appliance tries again by itself", retryable=True),
    Code(6008, "warning", "a post came to a path that the listener does not have", "set the URL at the appliance to /events or /approvals, or keep the path of the vendor's application"),
    Code(6009, "warning", "a call to the listener did not come to its end in time", "if it is an appliance, look at the network between", retryable=True),
    Code(6010, "warning", "a call to the listener is no post over TLS and HTTP/1.1", "look at the URL and the CA certificate of the recipient at the appliance, and at proxies between"),
    Code(6011, "warning", "the store took too long to take a post", "look at the disk of the state folder; the appliance tries again by itself", retryable=True),
    Code(6012, "warning", "a request for approval that nobody can be answered about", "it is kept; look at what the appliance's ticket system is set to send: request_id and response_url must be there"),
    # 9xxx: internal
    Code(9001, "critical", "a fault of the relay itself", "report it with the log lines of this job"),
    Code(9002, "critical", "the job stopped the relay three times and is not tried again", "report it with the log lines of this job"),
)
# fmt: on

REGISTRY: dict[int, Code] = {row.number: row for row in _ROWS}


def code_of(number: int) -> Code:
    """The registry's row for a code.

    Raises:
        KeyError: no such code; a fault of the caller.

    """
    return REGISTRY[number]
