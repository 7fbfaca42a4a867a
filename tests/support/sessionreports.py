"""Session reports as appliances write them, and any others that could be written."""

from __future__ import annotations

import base64
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

SRA = ' xmlns="http://www.beyondtrust.com/sra/namespaces/API/reporting"'
NAMESPACES = (
    SRA,
    ' xmlns="https://www.beyondtrust.com/namespaces/API/reporting"',
    ' xmlns="http://www.bomgar.com/namespaces/API/reporting"',
    "",
)
LSID = "e9e99aeb9ad54fb381634498502c5a1b"

ENCODED = base64.b64encode("bell\x07 à toi".encode()).decode()

ACCESS = f"""<session lsid="{LSID}">
    <session_type>support</session_type>
    <lseq>8</lseq>
    <start_time timestamp="1733239565">2024-12-03T15:26:05+00:00</start_time>
    <end_time timestamp="1733240467">2024-12-03T15:41:07+00:00</end_time>
    <duration>00:15:02</duration>
    <external_key>INC0010001</external_key>
    <custom_attributes>
        <custom_attribute display_name="ServiceNow Task ID" code_name="snow_task_id">{"ab" * 16}</custom_attribute>
        <custom_attribute display_name="Site" code_name="site"> Lyon </custom_attribute>
    </custom_attributes>
    <session_chat_view_url>https://access.example.com/session_download?lsid=l%3D1&amp;view=1</session_chat_view_url>
    <session_chat_download_url>https://access.example.com/session_download?lsid=l%3D1</session_chat_download_url>
    <session_recording_view_url>https://access.example.com/view</session_recording_view_url>
    <session_recording_download_url>https://access.example.com/get</session_recording_download_url>
    <command_shell_recordings><command_shell_recording instance="0">
        <download_url>https://access.example.com/s0</download_url><view_url>https://access.example.com/v0</view_url>
    </command_shell_recording></command_shell_recordings>
    <file_transfer_count>2</file_transfer_count>
    <file_move_count>0</file_move_count>
    <file_delete_count>1</file_delete_count>
    <jumpoint id="3">Lyon</jumpoint>
    <primary_customer gsnumber="22">web01</primary_customer>
    <jump_group type="shared" id="1">Servers</jump_group>

    <primary_rep gsnumber="21" id="1">Admin</primary_rep>
    <customer_list>
    <customer gsnumber="22">
    <username>web01</username>
    <public_ip>192.0.2.19:61606</public_ip>
    <private_ip>10.0.0.4</private_ip>
    <hostname>web01.example.com</hostname>
    <os>Windows Server 2022 Datacenter (21H2)</os>
</customer>
    </customer_list>
    <rep_list>
    <representative gsnumber="21" id="1">
    <username>admin</username>
    <display_name>Admin</display_name>
    <public_display_name>A.</public_display_name>
    <private_display_name>Admin (private)</private_display_name>
        <public_ip>[2001:db8:ec57:b230:f188:56c5:7089:d987]:56722</public_ip>
    <private_ip>Unknown</private_ip>
    <os>Unknown</os>
    <session_owner>1</session_owner>
        <seconds_involved>901</seconds_involved>
</representative>
    <representative gsnumber="23" id="2"><username>guest</username><invited>1</invited></representative>
    </rep_list>
<session_details>
<event timestamp="1733239565" event_type="Session Start" >

    </event>
<event timestamp="1733239565" event_type="Conference Owner Changed" >

    <destination type="system" gsnumber="0">Pre-start Conference</destination>
    <data>
            <value name="owner" value="Pre-start Conference" />
        </data>
</event>
<event timestamp="1733239600" event_type="File Upload">
    <performed_by type="representative" gsnumber="21">Admin</performed_by>
    <destination type="customer" gsnumber="22">web01</destination>
    <data><value name="filename" value="C:\\a b.txt"/><value name="filesize" value="12"/></data>
</event>
<event timestamp="1733239601" event_type="Chat Message">
    <performed_by type="representative" gsnumber="21">Admin</performed_by>
    <destination type="everyone" gsnumber="0">All</destination>
    <encoded_body>{ENCODED}</encoded_body>
</event>
<event timestamp="1733239602" event_type="System Information Retrieved">
    <system_information><category name="Disk">
        <description><field name="Drive"/><field name="Size">bytes</field></description>
        <data><row><field name="Drive">C:</field><field id="Size">100</field></row>
        <row><field name="Drive">D:</field></row></data>
    </category></system_information>
</event>
<event timestamp="soon" event_type="Something New"><performed_by>X</performed_by><novel kind="n">thing</novel></event>
</session_details>
</session>"""

SUPPORT = """<session lsid="0123456789abcdef0123456789abcdef">
<session_type>support</session_type><lseq>9</lseq>
<start_time timestamp="1733239565">2024-12-03T15:26:05+00:00</start_time><end_time/><duration/>
<public_site id="1">Default</public_site>
<team_list><team id="4"><name>Desk</name></team><team id="5">Field</team></team_list>
<rep_join_time timestamp="1733239570">2024-12-03T15:26:10+00:00</rep_join_time>
<primary_customer gsnumber="2"/>
<customer_list><customer gsnumber="2"><username>Jane</username><primary_cust>1</primary_cust>
<info><name>Jane</name><company>Example</company><company_code>X1</company_code><issue>printer</issue><details>jam</details>
</info></customer></customer_list>
<rep_list><representative gsnumber="1" id="7"><username>joe</username><primary_rep>1</primary_rep>
<session_owner>perhaps</session_owner><seconds_involved>many</seconds_involved></representative></rep_list>
<cust_survey_list><cust_exit_survey gsnumber="2"/></cust_survey_list>
<rep_survey_list><rep_exit_survey gsnumber="1"><question_list><question id="1"><type>radio</type><name>q</name>
<label>Solved?</label><report_header>Solved</report_header><answer_list><answer>Yes</answer><answer>No</answer>
</answer_list></question></question_list></rep_exit_survey></rep_survey_list>
<session_details>
<event timestamp="1733239600" event_type="File Download"><filename>log.txt</filename><filesize>77</filesize></event>
<event timestamp="1733239600" event_type="Files Shared"><files><file><filename>a</filename><filesize>1</filesize></file>
<file><filename>b</filename></file></files><body>two files</body></event>
</session_details></session>"""


def document(*sessions: str, namespace: str = SRA) -> bytes:
    """A report of these sessions."""
    prolog = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{prolog}<session_list{namespace}>\n{''.join(sessions)}</session_list>".encode()


def long_session(number: int, events: int) -> str:
    """A session with chat messages."""
    chat = "".join(
        f'<event timestamp="{1733239565 + each}" event_type="Chat Message"><performed_by type="representative" '
        f'gsnumber="1">Admin</performed_by><destination type="everyone" gsnumber="0">All</destination>'
        f"<body>line {each} {'the quick brown fox ' * 5}</body></event>\n"
        for each in range(events)
    )
    return f'<session lsid="{number:032x}"><lseq>{number}</lseq><session_details>\n{chat}</session_details></session>\n'


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co", "N", "Z"]), min_size=1, max_size=8
)
_NAMES = (
    "event body encoded_body data value files file filename filesize performed_by destination system_information "
    "category description field row customer_list customer rep_list representative info username public_ip os "
    "session_owner seconds_involved custom_attributes custom_attribute jump_group lseq start_time end_time duration "
    "team_list team cust_survey_list cust_exit_survey question_list question answer_list answer session_details "
    "command_shell_recordings command_shell_recording view_url primary_rep file_move_count novel"
)
_ATTRIBUTES = "timestamp event_type type gsnumber id name value code_name display_name instance"
NAMES = st.sampled_from(_NAMES.split())
ATTRIBUTES = st.sampled_from(_ATTRIBUTES.split())


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    """Any element, of the report's words and others, well-formed."""
    name = draw(NAMES)
    given = draw(st.dictionaries(ATTRIBUTES, WORDS, max_size=2))
    inside = escape(draw(WORDS)) if draw(st.booleans()) else ""
    if depth:
        inside += "".join(draw(st.lists(elements(depth=depth - 1), max_size=2)))
    return f"<{name}{''.join(f' {key}={quoteattr(value)}' for key, value in given.items())}>{inside}</{name}>"


@st.composite
def events(draw: st.DrawFn) -> str:
    """Any event."""
    given = draw(st.dictionaries(st.sampled_from(["timestamp", "event_type", "other"]), WORDS, max_size=3))
    inside = "".join(draw(st.lists(elements(depth=3), max_size=3)))
    return f"<event{''.join(f' {key}={quoteattr(value)}' for key, value in given.items())}>{inside}</event>"


@st.composite
def sessions(draw: st.DrawFn) -> str:
    """Any session with a usable lsid."""
    lsid = draw(st.text("0123456789abcdef", min_size=32, max_size=32))
    around = "".join(draw(st.lists(elements(), max_size=3)))
    details = "".join(draw(st.lists(events() | elements(depth=2), max_size=4)))
    return f'<session lsid="{lsid}">{around}<session_details>{details}</session_details></session>'
