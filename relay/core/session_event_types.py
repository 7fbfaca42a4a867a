"""The types of events in sessions that are known: a list for people who choose among them.

The list is open. An event of any other type is read, kept and selected by its name as well.
"""

from __future__ import annotations

from typing import Final

FURTHER_TYPES: Final = (
    "File Transfer Complete",
    "Remote Shell Event",
    "Session Mouse Left Clicked",
    "Session Window Closed",
    "Special Action Executed",
)
"""Seen in reports of appliances and in no list of the vendor."""
EVENT_TYPES: Final = (
    "Callback Button Deployed",
    "Callback Button Removed",
    "Chat Message",
    "Command Shell Session Started",
    "Conference Member Added",
    "Conference Member Departed",
    "Conference Member State Changed",
    "Conference Owner Changed",
    "Credential Injection Attempt Failed",
    "Credential Injection Attempt",
    "Customer Exit Survey",
    "Directory Created",
    "External Key",
    "File Deleted",
    "File Download Failed",
    "File Download",
    "File Moved",
    "File Upload Failed",
    "File Upload",
    "Files Shared",
    "Jump Item Authorization Request Utilized",
    "Jump Item Authorization Request",
    "Legal Agreement Response",
    "Pinned Session Moved Away from Queue",
    "Pinned Session Moved to Queue",
    "Pinned Session Password Modified",
    "Registry Exported",
    "Registry Imported",
    "Registry Key Added",
    "Registry Key Deleted",
    "Registry Key Renamed",
    "Registry Value Added",
    "Registry Value Deleted",
    "Registry Value Modified",
    "Registry Value Renamed",
    "Representative Exit Survey",
    "Representative Monitoring Started",
    "Representative Monitoring Stopped",
    "Screen Recording",
    "Screenshot Captured",
    "Service Access Allowed",
    "Session Assigned",
    "Session Assignment Response",
    "Session End",
    "Session Foreground Window Changed",
    "Session Note Added",
    "Session Pinned to Queue",
    "Session Start",
    "Session Transferred Away from Queue",
    "Session Transferred to Queue",
    "Session Unpinned from Queue",
    "Show My Screen Recording",
    "System Information Retrieved",
    *FURTHER_TYPES,
)
"""Every type that reports were seen to hold."""
