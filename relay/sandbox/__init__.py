"""A ServiceNow and an appliance of our own on loopback TLS, to develop, test, demonstrate and measure against.

Why nothing of the relay's adapters is used here: this is an independent reading of the protocols, so that a wrong
reading on one side fails a test instead of agreeing with itself.

    certificates  a throw-away CA                     door       HTTPS on loopback, and the faults of a connection
    web           requests and answers as values      faults     what a stand-in was told to do wrong
    rows, query   ServiceNow's tables in memory       servicenow, access, tableapi, batch, attachments, rules
    journal       work notes and comments             vendor      the endpoints of the vendor's application
    appliance     the appliance, with accounts, command, reporting, configuration, sessions
    lifelike      sessions as they happen             scenes, happenings, films, sessionreport   what they consist of
    outbound      events to a listener, in order      tickets, poster   requests for approval, and how both are posted
    work, reader  what an instance's scripts write and how they read
    oracle        whether every job ended as it must
    sessionoracle whether every session came home     playing     sessions, events and tickets for control
    control       all of it from another process      box        both together, with a ready configuration
"""
