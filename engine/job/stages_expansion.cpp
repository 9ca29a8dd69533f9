// The stage of a job in which its prompt is expanded.
#include <filesystem>

#include "engine/job/expansion_picture.h"
#include "engine/job/stages.h"

namespace wan {

namespace fs = std::filesystem;

/// The prompt, before anything is computed. Of a job whose steps are all made, or that makes none, nobody asks.
void Stages::expand(Job& job) {
  if (!job.request.enable_prompt_expansion || job.schedule->empty() || wants_speech(job) || !wants_latents(job)) return;
  if (!job.expansion) {
    // What was noted of the prompt is lost: another text would go on with steps of the first.
    if (fs::exists(files_.sampling(job))) {
      log_("note", {{"subject", "work"}, {"text", "the expanded prompt of its steps is lost: they are made again"}});
      folder_.remove(files_.sampling(job).filename().string());
    }
    ExpansionAsk ask{.job = job.work_key, .request = job.request};
    for (const char* field : {"image_url", "last_image_url"})
      if (const auto input = job.record.inputs.find(field); input != job.record.inputs.end())
        ask.pictures.push_back(input->second.sha256);
    if (job.request.task == Task::I2V) ask.picture_urls = [&] { return seen_pictures(job); };
    job.expansion = expander_.of(ask, progress_);
  }
  for (const Note& note : job.expansion->notes) job.notes.add(note);
  job.record.expanded_prompt = job.result.expanded_prompt = job.expansion->text;
  if (!job.expansion->text.empty()) {
    preflight_->look_at_prompt(kExpandedField, job.expansion->text, *job.group, job.notes);
    try {
      input_safety_.look_at_words(job.request, kExpandedField, job.expansion->text, job.record.safety);
    } catch (const SafetyRefusal& refusal) {
      job.result.safety = refusal.record;
      throw;
    }
  }
  names_.set_prompt_name(job);
  files_.settle(job);
  files_.drop_damaged(job, log_);  // an equal text may have been encoded by an earlier run
}

std::vector<std::string> Stages::seen_pictures(Job& job) {
  const InputFiles files = fetch(job);
  std::vector<std::string> urls = {seen_picture(files.image)};
  if (!files.last_image.path.empty()) urls.push_back(seen_picture(files.last_image));
  return urls;
}

}  // namespace wan
