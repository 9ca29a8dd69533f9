// OpenAI's calls about videos that are there or under way: list, status, content, removal.
#include "engine/serve/api/openai.h"

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/text.h"
#include "engine/serve/api/answers.h"
#include "engine/serve/api/openai_answers.h"
#include "engine/serve/api/openai_error.h"
#include "engine/serve/net/text.h"

namespace wan::serve {
namespace {

using nlohmann::ordered_json;

constexpr Access::Form kForm = Access::Form::OpenAi;
constexpr int64_t kListed = 20, kMostListed = 100;
constexpr std::chrono::seconds kForCancel{10};  // until a job that is to be removed has ended

HttpError no_video(const std::string& id) {
  return HttpError(openai_error(404, "not_found", "There is no video " + shown(id) + "; GET /v1/videos lists yours"));
}

/// A parameter of the query; empty where it is absent.
std::string query_text(const Exchange& exchange, const char* name) {
  const auto found = exchange.query().find(name);
  return found == exchange.query().end() ? "" : found->second;
}

/// How many are listed at once. Throws HttpError 400.
int64_t limit_of(const Exchange& exchange) {
  const std::string text = query_text(exchange, "limit");
  if (text.empty()) return kListed;
  const bool is_number = text.size() <= 4 && all_are(text, "0123456789");
  const int64_t limit = is_number ? std::stoll(text) : 0;
  if (limit < 1 || limit > kMostListed)
    throw HttpError(openai_error(400, "value_error", "[limit] must be from 1 to 100, got " + shown(text), "limit"));
  return limit;
}

/// Whether the oldest come first. Throws HttpError 400.
bool is_ascending(const Exchange& exchange) {
  const std::string text = query_text(exchange, "order");
  if (!text.empty() && text != "asc" && text != "desc")
    throw HttpError(openai_error(400, "value_error", "[order] must be asc or desc, got " + shown(text), "order"));
  return text == "asc";
}

/// The place of a video in the order of arrival. Throws HttpError 404.
Awaitable<int64_t> place_of(ApiContext& context, const Caller& caller, std::string id) {
  const std::optional<std::string> owner = caller.owner();
  const std::function<std::optional<Job>(Store&)> question = [id](Store& store) { return store.find(id); };
  const std::optional<Job> job = co_await context.jobs.ask(question);
  // One that its owner has removed meanwhile still has a place: clients remove what they list.
  if (!job || (owner && *owner != job->owner)) throw no_video(id);
  co_return job->sequence;
}

Awaitable<Answer> list_videos(ApiContext& context, Exchange& exchange) {
  const Caller caller = context.access.caller(exchange, kForm);
  const int64_t limit = limit_of(exchange);
  JobFilter filter;
  filter.owner = caller.owner();
  filter.most = limit + 1;
  filter.oldest_first = is_ascending(exchange);
  if (const std::string after = query_text(exchange, "after"); !after.empty()) {
    const int64_t place = co_await place_of(context, caller, after);
    if (filter.oldest_first)
      filter.after = place;
    else
      filter.before = place;
  }
  std::vector<Job> found = co_await context.jobs.list(filter);
  const bool has_more = int64_t(found.size()) > limit;
  if (has_more) found.resize(size_t(limit));
  ordered_json videos = ordered_json::array();
  for (Job& job : found) {
    // One that is in memory knows more.
    JobPtr live;
    if (!is_ended(job.status)) live = co_await context.jobs.find(job.id, filter.owner);
    LiveJob stored;
    stored.job = std::move(job);
    videos.push_back(video_json(live ? *live : stored, context.settings.keep.count()));
  }
  ordered_json answer;
  answer["object"] = "list";
  answer["first_id"] = videos.empty() ? ordered_json(nullptr) : videos.front().at("id");
  answer["last_id"] = videos.empty() ? ordered_json(nullptr) : videos.back().at("id");
  answer["has_more"] = has_more;
  answer["data"] = std::move(videos);
  co_return json_answer(answer);
}

Awaitable<Answer> show_video(ApiContext& context, Exchange& exchange, std::string id) {
  const Caller caller = context.access.caller(exchange, kForm);
  const JobPtr job = co_await find_video(context, caller, id);
  co_return video_answer(*job, context);
}

/// Why a video has no content yet, or none at all.
Answer without_content(const Job& job) {
  if (!is_ended(job.status))
    return openai_error(400, "video_not_ready",
                        "The video is not ready; ask for it when GET /v1/videos/" + job.id + " says completed");
  return openai_error(400, "video_failed",
                      "The video was not made: " + (job.error ? job.error->text() : std::string("it has no output")));
}

Awaitable<Answer> send_content(ApiContext& context, Exchange& exchange, std::string id) {
  const Caller caller = context.access.caller(exchange, kForm);
  const std::string asked = query_text(exchange, "variant"), variant = asked.empty() ? "video" : asked;
  if (variant != "video" && variant != "thumbnail" && variant != "spritesheet")
    co_return openai_error(400, "value_error",
                           "[variant] must be video, thumbnail or spritesheet, got " + shown(variant), "variant");
  const JobPtr job = co_await find_video(context, caller, id);
  if (job->job.status != JobStatus::Done || !job->job.output) co_return without_content(job->job);
  if (variant == "video") co_return co_await context.files.output(exchange, job->job.output->file);
  // The picture that was shown while it was made. Of a flagged video it is not blurred, and so shown to nobody.
  std::optional<Answer> picture;
  if (variant == "thumbnail" && !job->job.output->is_flagged())
    picture = co_await context.files.preview(job->job.preview_key);
  if (picture) co_return std::move(*picture);
  co_return openai_error(404, "variant_not_available",
                         "[variant] " + variant + " is not there for this video; send variant=video" +
                             (variant == "thumbnail" ? "" : " or thumbnail: this server makes no sprite sheets"),
                         "variant");
}

/// A video that is not finished is cancelled first: OpenAI has no call for that.
Awaitable<Answer> remove_video(ApiContext& context, Exchange& exchange, std::string id) {
  const Caller caller = context.access.caller(exchange, kForm);
  const std::optional<std::string> owner = caller.owner();
  const JobPtr job = co_await find_video(context, caller, id);
  if (!is_ended(job->job.status)) {
    co_await context.jobs.cancel(id, owner);
    co_await wait_for_end(context.jobs, job, kForCancel);
  }
  if (!is_ended(job->job.status))
    throw HttpError(openai_error(503, "video_in_progress",
                                 "The video is being cancelled, at its next step; remove it again then", "",
                                 {{"Retry-After", "5"}}));
  const bool removed = co_await context.jobs.remove(id, owner);
  if (!removed) throw no_video(id);
  ordered_json answer;
  answer["id"] = id;
  answer["object"] = "video.deleted";
  answer["deleted"] = true;
  co_return json_answer(answer);
}

}  // namespace

Awaitable<Answer> in_openai_form(Awaitable<Answer> work) {
  Answer answer;
  try {
    answer = co_await std::move(work);
  } catch (HttpError& error) {
    answer = std::move(error.answer);
  }
  co_return in_form(kForm, std::move(answer));
}

Awaitable<JobPtr> find_video(ApiContext& context, const Caller& caller, std::string id) {
  const std::optional<std::string> owner = caller.owner();
  JobPtr job = co_await context.jobs.find(id, owner);
  if (!job || job->job.hidden) throw no_video(id);
  co_return job;
}

void add_openai_routes(Router& router, ApiContext& context) {
  router.add("GET", "/v1/videos/{id}", [&context](Exchange& at, const Captures& names) {
    return in_openai_form(show_video(context, at, names.at("id")));
  });
  router.add("GET", "/v1/videos",
             [&context](Exchange& at, const Captures&) { return in_openai_form(list_videos(context, at)); });
  router.add("GET", "/v1/videos/{id}/content", [&context](Exchange& at, const Captures& names) {
    return in_openai_form(send_content(context, at, names.at("id")));
  });
  router.add("DELETE", "/v1/videos/{id}", [&context](Exchange& at, const Captures& names) {
    return in_openai_form(remove_video(context, at, names.at("id")));
  });
  add_video_submits(router, context);
  add_video_generations(router, context);
}

}  // namespace wan::serve
