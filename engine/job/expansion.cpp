#include "engine/job/expansion.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/text.h"
#include "engine/job/expanded_text.h"
#include "engine/job/expansion_words.h"
#include "engine/request/expander_url.h"
#include "engine/request/params.h"
#include "models/files/digest.h"
#include "models/files/error.h"

namespace wan {

using Clock = std::chrono::steady_clock;

namespace {

using nlohmann::json;

constexpr size_t kLongestPrompt = 8000;  // bytes: longer ones are whole as they are
constexpr int kMostSilences = 3;         // in a row: then a server is not asked again in this run
constexpr int kAnswerTokens = 2048;      // with a model's thoughts
constexpr double kTemperature = 0.3;
constexpr int kSeed = 0;  // of the language model, the same for all seeds of a prompt: they have one text
constexpr std::chrono::milliseconds kBetweenTries(500), kLook(50);  // while a server loads its model

/// Keys of notes in the work folder.
std::string key_of_job(const std::string& job) {
  return "expansion of " + job;
}

std::string key_of_prompt(const ExpansionAsk& ask) {
  const Request& request = ask.request;
  const json values = {task_name(request.task), request.prompt, ask.pictures, chat_address(request.expander_url),
                       request.expander_model};
  return "expansion by " + sha256({values.dump()}).substr(0, 32);
}

json to_json(const Expansion& expansion) {
  return {{"text", expansion.text}, {"notes", json(wan::to_json(expansion.notes))}};
}

std::optional<Expansion> read_noted(const json* note) {
  if (!note || !note->contains("text")) return std::nullopt;
  return Expansion{.text = note->at("text"), .notes = read_notes(note->value("notes", json::array()))};
}

/// For good: where the job goes on later, it goes on with the same prompt.
Expansion left(const std::string& why) {
  return {
      .text = {},
      .notes = {{kExpansionSubject, "the prompt is used as it was given, also where this job goes on later: " + why}}};
}

json question(const ExpansionAsk& ask, const std::vector<std::string>& pictures) {
  const Request& request = ask.request;
  const Language language = language_of(request.prompt);
  const std::string words = user_text(request.prompt, language);
  json content = words;
  if (!pictures.empty()) {
    content = json::array({json{{"type", "text"}, {"text", words}}});
    for (const std::string& url : pictures)
      content.push_back(json{{"type", "image_url"}, {"image_url", json{{"url", url}}}});
  }
  json body = {{"messages",
                {{{"role", "system"}, {"content", system_text(request.task, language, int(pictures.size()))}},
                 {{"role", "user"}, {"content", content}}}},
               {"temperature", kTemperature},
               {"seed", kSeed},
               {"max_tokens", kAnswerTokens},
               {"stream", false}};
  if (!request.expander_model.empty()) body["model"] = request.expander_model;
  return body;
}

bool may_be_about_pictures(long status) {
  return status == 400 || status == 413 || status == 415 || status == 422 || status == 500 || status == 501;
}

/// "it answers 401 and asks for a key, ...". What the server itself says is for the log alone: it may quote anything.
std::string refusal_text(long status, bool has_key, int64_t timeout) {
  const std::string text = "it answers " + std::to_string(status);
  if (status == 401 || status == 403)
    return text + (has_key ? " and does not take the key in WAN_EXPANDER_KEY"
                           : " and asks for a key, which stands in the environment: WAN_EXPANDER_KEY");
  if (status == 503)
    return text + " for " + std::to_string(timeout) +
           " s, as a server does that loads its model; --expander-timeout SECONDS waits longer";
  if (status == 404) return text + "; --expander-url or --expander-model may be wrong";
  if (status >= 300 && status < 400) return text + "; redirects are not followed, its own URL is wanted";
  return text;
}

}  // namespace

Expansion recorded_expansion(const std::string& expanded_prompt, const std::vector<Note>& notes) {
  Expansion expansion{.text = expanded_prompt, .notes = {}};
  std::copy_if(notes.begin(), notes.end(), std::back_inserter(expansion.notes),
               [](const Note& note) { return note.subject == kExpansionSubject; });
  return expansion;
}

std::optional<Expansion> Expander::noted(const std::string& job) const {
  return read_noted(folder_.recall(key_of_job(job)));
}

Expansion Expander::of(const ExpansionAsk& ask, Progress& progress) {
  if (std::optional<Expansion> known = noted(ask.job)) return *known;
  const std::string prompt = key_of_prompt(ask);
  std::optional<Expansion> found = read_noted(folder_.recall(prompt));
  if (!found) {
    found = asked(ask, progress);
    folder_.note(prompt, to_json(*found));
  }
  folder_.note(key_of_job(ask.job), to_json(*found));
  return *found;
}

Expansion Expander::asked(const ExpansionAsk& ask, Progress& progress) {
  const Request& request = ask.request;
  if (request.prompt.find_first_not_of(" \t\r\n") == std::string::npos) return left("it is empty");
  if (request.prompt.size() > kLongestPrompt)
    return left("it has " + std::to_string(request.prompt.size()) + " bytes, and at most " +
                std::to_string(kLongestPrompt) + " are expanded");
  const std::string address = chat_address(request.expander_url);
  int& silences = silences_[address];
  if (silences >= kMostSilences)
    return left("the language server gave no answer " + std::to_string(kMostSilences) +
                " times in a row and is not asked again");
  Log::Fields told = {{"out", shown_name(request.out)}, {"server", public_url(request.expander_url)}};
  if (!request.expander_model.empty()) told["model"] = request.expander_model;
  Log::Fields begun = told;
  begun["timeout_seconds"] = request.expander_timeout;
  log_("expanding", begun);  // the answer may take long
  const Clock::time_point start = Clock::now(), end = start + std::chrono::seconds(request.expander_timeout);
  const auto fail = [&](const std::string& why) {
    told["failed"] = why;
    log_("expansion", told);
    return left("the language server: " + why);
  };
  Expansion made;
  try {
    std::vector<std::string> pictures = ask.picture_urls ? ask.picture_urls() : std::vector<std::string>();
    PostAnswer answer = sent(address, question(ask, pictures).dump(), end, progress);
    if (!pictures.empty() && may_be_about_pictures(answer.status)) {
      const std::string why = refusal_text(answer.status, !key_.empty(), request.expander_timeout);
      pictures.clear();
      answer = sent(address, question(ask, pictures).dump(), end, progress);
      if (answer.status == 200)
        made.notes.push_back({kExpansionSubject,
                              "the language server takes no pictures (" + why + "): the prompt was expanded without",
                              "a model that sees, as llama-server has with --mmproj"});
    }
    silences = 0;
    if (answer.status != 200) {
      if (const std::string says = told_error(answer.body, key_); !says.empty()) told["says"] = says;
      return fail(refusal_text(answer.status, !key_.empty(), request.expander_timeout));
    }
    const ExpandedText text = expanded_text(answer.body, key_);
    if (text.text.empty()) return fail(text.wrong);
    if (repeats(text.text, system_text(request.task, language_of(request.prompt), int(pictures.size()))))
      return fail("its text repeats what it was told to do; a larger model may do it");
    made.text = text.text;
  } catch (const NoPostAnswer& silent) {
    silences = silent.silent ? silences + 1 : 0;
    if (Clock::now() < end) return fail(silent.what());
    return fail("it does not answer within " + std::to_string(request.expander_timeout) +
                " s; --expander-timeout SECONDS gives it longer");
  }
  told["seconds"] = std::chrono::duration<double>(Clock::now() - start).count();
  told["words"] = count_words(made.text);
  told["text"] = made.text;
  log_("expansion", told);
  return made;
}

PostAnswer Expander::sent(const std::string& address, const std::string& body, Clock::time_point end,
                          Progress& progress) const {
  for (;;) {
    // Rounded up: a question that runs into its limit then ends behind `end`, and is told as --expander-timeout.
    const auto time = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (time.count() <= 0) throw NoPostAnswer("its time is over", true);
    PostAnswer answer = post_json({address, key_, body}, {.whole = time}, progress);
    // It loads its model: asked again until the time is over.
    if (answer.status != 503 || Clock::now() + kBetweenTries >= end) return answer;
    for (const auto until = Clock::now() + kBetweenTries; Clock::now() < until; std::this_thread::sleep_for(kLook))
      progress.check();
  }
}

}  // namespace wan
