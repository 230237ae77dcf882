module fastapi-auto-agent/tests/interpreters

go 1.26

// One name for each CPython, so that several versions of one module can be pinned side by side.
require (
	interpreter/3.10 v0.0.0
	interpreter/3.11 v0.0.0
	interpreter/3.14 v0.0.0
)

replace (
	interpreter/3.10 v0.0.0 => github.com/kluctl/go-embed-python v0.0.0-3.10.16-20241219-1
	interpreter/3.11 v0.0.0 => github.com/kluctl/go-embed-python v0.0.0-3.11.11-20241219-1
	interpreter/3.14 v0.0.0 => github.com/kluctl/go-embed-python v0.0.0-3.14.6-20260610-1
)
