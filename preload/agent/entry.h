// SPDX-License-Identifier: MIT
// The one seam between libfaa.so and libfaa-agent.so. Both are built from one tree, but a user may
// mix files of two versions: the number guards against that.
#ifndef FAA_AGENT_ENTRY_H
#define FAA_AGENT_ENTRY_H

#define FAA_ENTRY_SYMBOL "faa_agent_start"

enum { FAA_ENTRY_VERSION = 1 };

/// What the shim may ask of a running agent.
struct faa_agent_ops {
    /// Sends what has ended, within the flush limit. Called when this process is about to end
    /// without running its exit handlers. Any thread, with or without the GIL; does nothing in a
    /// process (a vfork child) that is not the one the agent runs in.
    void (*flush)(void);
};

/// The agent's only exported symbol. Called once a process, with the interpreter initialised and
/// the GIL held. `road` says how it was found, for the debug log. Returns NULL when the agent
/// stands down; a Python error set before the call is still set after it.
typedef const struct faa_agent_ops *faa_agent_start_fn(int version, const char *road);

#endif
