// Short prompts written out by a language server that the user names: asked once, kept in the work folder, and the prompt
// as it was given wherever nothing of use comes.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/note.h"
#include "engine/base/progress.h"
#include "engine/fetch/json_post.h"
#include "engine/job/work_folder.h"
#include "engine/request/request.h"

namespace wan {

/// What notes about it, in a video's metadata too, have as their subject.
inline constexpr const char* kExpansionSubject = "enable_prompt_expansion";

/// What became of one prompt.
struct Expansion {
  std::string text;         // empty: the prompt is used as it was given
  std::vector<Note> notes;  // why, or what was left out
};

/// The expansion that a video's record tells of: a replay asks nobody.
Expansion recorded_expansion(const std::string& expanded_prompt, const std::vector<Note>& notes);

/// One prompt that is to be expanded.
struct ExpansionAsk {
  std::string job;  // names the job in its work folder, whatever chain it goes through then (Job::work_key)
  const Request& request;
  std::vector<std::string> pictures = {};                       // digests of the pictures of image to video
  std::function<std::vector<std::string>()> picture_urls = {};  // the same as data URLs; asked where they are sent
};

class Expander {
 public:
  /// `key` goes to the servers alone; empty: there is none.
  Expander(WorkFolder& folder, std::string key, const Log& log) : folder_(folder), key_(std::move(key)), log_(log) {}

  /// What an earlier run, or this one, got for the job of that work key; nothing where it has not been asked for.
  std::optional<Expansion> noted(const std::string& job) const;
  /// The same, else that of an equal prompt with equal pictures, model and server, else the server's answer: it is asked
  /// once, and where it cannot take pictures once more without them. What came is noted in the folder for good, also that
  /// nothing came. Never fails for what a server does; throws Cancelled and Withdrawn as `progress` does.
  Expansion of(const ExpansionAsk& ask, Progress& progress);

 private:
  Expansion asked(const ExpansionAsk& ask, Progress& progress);
  PostAnswer sent(const std::string& address, const std::string& body, std::chrono::steady_clock::time_point end,
                  Progress& progress) const;

  WorkFolder& folder_;
  std::string key_;
  const Log& log_;
  std::map<std::string, int> silences_;  // in a row, by server
};

}  // namespace wan
