"""What several areas' tests share: a throw-away CA and scriptable servers on loopback."""
