// What a request asks of the safety checks, and what they said: the values that a job, its file and a server agree on.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "engine/request/request.h"

namespace wan {

enum class SafetyAction { Refuse, Blur, Flag };

/// What is done with what is flagged.
struct SafetyRule {
  SafetyAction action = SafetyAction::Refuse;
  bool discard = false;                  // with Refuse: the video is removed
  std::optional<double> threshold = {};  // the checker's own where there is none
  bool inputs = false, output = false;   // what is looked at
};
SafetyRule safety_rule(const Request& request);

/// Who names a checker or a list wants it used: a check that is neither asked for nor turned off is on, where the other one
/// is not what was asked for. `fields`: that came, of which `request` has the values. `from_flags`: refuses --discard that
/// has no effect, by InvalidRequest.
void settle_safety(const nlohmann::json& fields, bool from_flags, Request& request);

/// Whether the request cannot do without a checker of pictures: its prompt alone can be looked at by blocked words.
bool needs_safety_checker(const Request& request);

/// Fields of a request that change what is looked at and what becomes of the file, and nothing that comes before it:
/// what is kept of a job serves it, whatever they say.
inline constexpr const char* kSafetyFields[] = {"enable_safety_checker", "enable_output_safety_checker",
                                                "safety_checker",        "safety_threshold",
                                                "safety_action",         "discard",
                                                "blocked_words"};
/// Copies them.
void copy_safety(const Request& from, Request& to);

/// Of an input or of the video: the frame with the largest score counts.
struct SafetyFinding {
  bool flagged = false;
  double score = 0;        // of a picture: safety::Finding, to six places. Of the prompt 0
  std::string found = {};  // "nsfw", "concepts 3, 7", the blocked word; empty where it is not flagged
  int64_t frame = 0;       // with that score: its number among those that were generated, or in the input
  int64_t frames = 0;      // how many were looked at; 0 of the prompt

  bool operator==(const SafetyFinding&) const = default;
};

/// What records call the text of a language server, which is looked at as the prompt is.
inline constexpr const char* kExpandedField = "expanded_prompt";

/// All that was said of a job. Equal runs have equal ones.
struct SafetyRecord {
  std::string checker = {};                          // "image classifier (ViT)"; empty: no pictures were looked at
  double threshold = 0;                              // that counted
  std::string action = {};                           // safety_action; empty: nothing was looked at
  std::map<std::string, SafetyFinding> inputs = {};  // by field: "prompt", "image_url"
  std::optional<SafetyFinding> output = {};

  /// Whether anything was looked at.
  bool is_there() const { return !inputs.empty() || output.has_value(); }
  bool flagged() const;
  bool inputs_flagged() const;

  bool operator==(const SafetyRecord&) const = default;
};

/// {"checker", "threshold", "action", "flagged", "inputs": {FIELD: {...}}, "output": {"flagged", "score", "frame",
/// "frames", "found"}}. `with_words`: what was found in the prompt, too, which is a part of it.
nlohmann::ordered_json to_json(const SafetyRecord& record, bool with_words = true);
/// Throws nlohmann::json::exception for other JSON.
SafetyRecord read_safety(const nlohmann::json& json);

/// An input or a video that was refused: the job ends, others go on. Exit code 5.
struct SafetyRefusal : std::runtime_error {
  /// what() is "[field] wrong; way".
  SafetyRefusal(std::string field, std::string wrong, std::string way, SafetyRecord record, std::string kept = "");
  std::string field;  // of the input, "prompt" among them, or "out"
  std::string wrong;  // what was found: it names nothing of the machine
  std::string way;    // where the video lies, and how to go on
  SafetyRecord record;
  std::string kept;  // path of the refused video; empty: of an input, or it was removed
};

/// What a request has looked at, and what becomes of what is flagged: "safety: inputs and frames, refuse above 0.7"; empty
/// where nothing is.
std::string safety_line(const Request& request);

/// How a finding is told: "score 0.93 of frame 34 is above 0.5 (nsfw)".
std::string safety_text(const SafetyFinding& finding, double threshold);

}  // namespace wan
