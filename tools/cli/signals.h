// Signals that ask a run to end. It ends at the next step, keeps what is done and says how to go on; a second signal
// ends it at once, but for an equal one within half a second: `timeout` signals the program and then its group.
#pragma once

#include <string>

namespace wan {

/// Takes SIGINT, SIGTERM and SIGHUP from now on, but for those that the program was started to ignore (nohup), and
/// ignores SIGPIPE and SIGXFSZ: writing to a closed pipe or a full disk fails instead.
void take_signals();
/// Holds them back while another program takes this one's place, which calls take_signals and then gets them.
void hold_signals();

/// The signal that came; 0: none.
int signal_that_came();
/// What to say of it: "interrupted", "terminated", "the terminal was closed".
std::string signal_text(int signal);

/// Whether whoever reads stdout has closed it, as `head` does once it has its lines. What can then not be written is no
/// failure: the program ends silently with kPipeClosed.
bool stdout_closed();
/// What a program ends with that SIGPIPE kills: 128 and its number.
inline constexpr int kPipeClosed = 141;

}  // namespace wan
