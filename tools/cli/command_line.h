// What was typed, understood: shared by wan-infer, which answers in milliseconds, and wan-engine, which does the work.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/request/machine_words.h"
#include "engine/request/request.h"
#include "engine/request/shard.h"

namespace wan {

/// Which server, and as who.
struct ServerWords {
  std::string url;          // --server, or WAN_SERVER: "http://host:8000", without a slash at the end
  std::string key;          // --key, or WAN_SERVER_KEY; empty: none. No message may say it
  std::string authorities;  // --cacert: file of certificates to trust; empty: as the machine has it
  std::string priority;     // normal | low
};

struct Command {
  std::string
      name;  // t2v i2v v2v s2v batch show replay decode finish compare inspect convert status watch cancel logs;
             // empty where `answer` is all
  std::string answer;  // --help, --version: print it and stop
  Request request;     // of t2v, i2v, v2v and s2v

  // Of the other commands.
  std::string input;      // manifest, video, latents, model folder or network; the id of a server's job
  std::string output;     // convert, calibrate: the file that is written
  std::string other;      // compare: the second video
  nlohmann::json fields;  // request fields given as flags, by name: batch's defaults for lines that lack them; what
      // replaces the stored value in replay and decode, and what finish is to do. Texts, as typed; `parse` with Source::Flags
  std::string work;        // batch: the work folder, MANIFEST.work where it is absent
  std::string order;       // batch: phases | given
  Shard shard;             // batch: the part that is rendered; the whole manifest where --shard is absent
  bool report = false;     // batch: print how far it is, and stop
  bool fail_fast = false;  // batch
  bool fresh = false;      // t2v and its like, replay: forget unfinished work
  bool overwrite = false;  // replace files that other requests made
  std::string to;          // convert: the form; empty with `merge_loras`: that of the input, which must be in floats
  std::vector<std::string> merge_loras;  // convert: LoRAs to fold in, as typed: FILE[:SCALE]
  bool lora_lax = false;                 // convert: leave out keys of LoRAs that the network has no place for
  bool verify = false;                   // inspect: compare checksums
  std::string checksums;                 // inspect: the list of them; empty: those that lie in the folder
  std::vector<std::string> lpips;        // compare: files of weights; none: without LPIPS
  std::string plot;                      // compare: SVG that is drawn; empty: none
  bool anyway = false;                   // replay, decode: with other files than those that are named, too

  std::string log_format;      // text | json
  std::string contact_sheet;   // PNG beside the video; empty: none
  std::string captured_heads;  // of t2v, i2v and v2v: queries and keys for wan-bench skip-softmax; empty: none
  std::string preview;         // of t2v and its like, replay: PNG or JPEG, replaced while it renders; empty: none
  int64_t threads = 0;         // CPU threads; 0: as many as the machine has
  bool dry_run = false;  // print the steps, and where a model is given its plan, and stop; of batch its jobs

  // At a server, by wan-remote.
  bool submit = false;  // of t2v and its like: send it, print its id, and stop
  ServerWords server;   // of these and of batch; an empty URL: everything happens here
  bool follow = false;  // logs: until the job ends
  bool resend = false;  // batch: send again what failed, and what may have been lost on its way

  bool check = false;      // of t2v and its like, batch: look only whether it can run
  bool calibrate = false;  // of t2v and its like: measure how much its steps change, and write that to `output`
  std::string prompts;     // calibrate: file of them; empty: the request's own, or those of calibration_prompts()
  bool plan = false;       // of t2v and its like: print where its weights lie and what that takes, and stop
  MachineWords machine;    // plan: that it is for; empty: this one
  bool json = false;       // check, plan, inspect, compare: what was found as JSON

  /// Whether a model was given, for whose files --dry-run shows the plan, too.
  bool names_model() const {
    return !request.model.empty() || !request.high_noise.empty() || !request.transformer.empty();
  }
  bool is_at_server() const { return !server.url.empty(); }
  bool is_render() const { return name == "t2v" || name == "i2v" || name == "v2v" || name == "s2v"; }
};

/// Throws InvalidRequest with everything that is wrong: flags, values and ranges.
Command parse_command_line(int argc, const char* const* argv);

}  // namespace wan
