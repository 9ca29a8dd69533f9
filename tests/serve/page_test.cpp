// What the page asks of the server.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/serve/queue/sqlite.h"
#include "tests/serve/handlers_scene.h"

namespace wan::serve {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

class Page : public HandlersScene {
 protected:
  JobPtr finished(const std::string& owner, const std::string& endpoint, const json& fields, double video_seconds = 0) {
    Job made = job();
    made.owner = owner, made.endpoint = endpoint;
    made.fields = fields;
    const JobPtr live = wait_for(jobs_->submit(made));
    jobs_->done(live,
                {.file = "v.mp4", .bytes = 1, .seed = 1, .prompt = "", .seconds = 1, .video_seconds = video_seconds});
    EXPECT_TRUE(until_ended({live}));
    return live;
  }
};

/// The events of an open page.
class Heard : public EventStream {
 public:
  Awaitable<bool> send(std::string, std::string name) override {
    names.push_back(std::move(name));
    co_return there;
  }
  Awaitable<bool> comment() override { co_return there; }
  int64_t count(const std::string& name) const { return std::count(names.begin(), names.end(), name); }

  std::vector<std::string> names;
  bool there = true;
};

TEST_F(Page, AJobThatWaitsIsToldOnceUntilItsPlaceChanges) {
  begin_api();
  const std::vector<JobPtr> jobs = {submit(), submit(), submit()};
  const Answer answer = ask("GET", "/page/events");
  ASSERT_TRUE(answer.events);
  Heard heard;
  bool ended = false;
  boost::asio::co_spawn(*io_, answer.events(heard), [&](std::exception_ptr) { ended = true; });
  turn(milliseconds(4700));
  EXPECT_EQ(heard.count("job"), 3) << "nothing changes";
  cancel(jobs[0]);
  ASSERT_TRUE(until([&] { return heard.count("job") == 6; })) << "its end, and the places of the two behind it";
  turn(milliseconds(2500));
  EXPECT_EQ(heard.count("job"), 6);
  heard.there = false;
  jobs_->log(jobs[1], "INFO", "x");
  EXPECT_TRUE(until([&] { return ended; })) << "it ends with the page";
}

TEST_F(Page, IsToldNothingMoreWhenItsKeyIsGone) {
  begin_api({key_named("ann"), key_named("bob")});
  const Answer answer = ask("GET", "/page/events", "", "ann");
  ASSERT_TRUE(answer.events);
  Heard heard;
  bool ended = false;
  boost::asio::co_spawn(*io_, answer.events(heard), [&](std::exception_ptr) { ended = true; });
  turn(milliseconds(700));
  EXPECT_FALSE(ended);
  access_->replace_keys({key_named("bob")});
  EXPECT_TRUE(until([&] { return ended; }));
}

TEST_F(Page, OneRecordThatCannotBeReadHidesNoOther) {
  begin_api();
  const auto one = [&] { return finished("", "fal-ai/wan/v2.2-a14b/text-to-video", job().fields); };
  const JobPtr bad = one(), worse = one(), good = one();
  end();
  {
    Database database(folder_ / "data/jobs.sqlite");
    database.prepare("UPDATE jobs SET output = '{' WHERE id = ?").run(bad->job.id);
    database.run("UPDATE inputs SET fields = 'null', input = '[' WHERE job = 2");
  }
  begin_api();
  const Answer answer = ask("GET", "/page/jobs");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json jobs = json_of(answer)["jobs"];
  ASSERT_EQ(jobs.size(), 3u);
  EXPECT_EQ(jobs[0]["id"], good->job.id);
  EXPECT_EQ(jobs[0]["status"], "done");
  EXPECT_EQ(jobs[1]["status"], "failed");
  EXPECT_TRUE(jobs[1]["input"].is_object()) << "the page's script looks into it";
  EXPECT_EQ(jobs[2]["status"], "failed");
  EXPECT_EQ(jobs[2]["prompt"], "a cat") << "what can be read is shown";
  EXPECT_EQ(ask("GET", "/page/savings").status, 200);
}

TEST_F(Page, PagesFollowTheOrderOfArrivalAlsoWithinAMillisecond) {
  begin_api();
  std::vector<std::string> wanted, got;
  for (int i = 0; i < 30; ++i) {
    Job made = job();
    made.created = i < 15 ? 5000 : 1000;  // the clock jumped back between them
    wanted.insert(wanted.begin(), wait_for(jobs_->submit(made))->job.id);
  }
  std::string path = "/page/jobs";
  for (bool older = true; older;) {
    const json page = json_of(ask("GET", path));
    for (const json& one : page["jobs"]) got.push_back(one["id"]);
    older = page["older"];
    path = "/page/jobs?before=" + page["next"].dump();
  }
  EXPECT_EQ(got, wanted);
  EXPECT_EQ(ask("GET", "/page/jobs?before=x").status, 422);
}

TEST_F(Page, SavingsAreThoseOfTheFinishedVideosThatAreThere) {
  begin_api({key_named("anna"), key_named("bert"), key_named("root", {}, true)});
  const std::string video = "fal-ai/wan/v2.2-a14b/video-to-video", speech = "wavespeed-ai/wan-2.2/speech-to-video";
  finished("anna", video, {{"task", "v2v"}, {"resolution", "720p"}, {"num_frames", 80}});   // 0.08 x 5 s
  finished("anna", video, {{"task", "v2v"}, {"resolution", "720p"}, {"num_frames", 160}});  // 0.08 x 10 s
  finished("anna", speech, {{"task", "s2v"}, {"resolution", "480p"}}, 12);                  // 0.03 x 12 s
  finished("anna", speech, {{"task", "s2v"}, {"resolution", "480p"}});                      // its length is not known
  finished("anna", video, {{"task", "v2v"}, {"num_frames", 80}});                           // nor is a size
  const JobPtr gone = finished("anna", video, {{"task", "v2v"}, {"resolution", "720p"}, {"num_frames", 80}});
  EXPECT_TRUE(wait_for(jobs_->remove(gone->job.id, std::nullopt)));
  finished("bert", video, {{"task", "v2v"}, {"resolution", "480p"}, {"num_frames", 16}});  // 0.04 x 1 s
  const auto told = [&](const std::string& key) { return json_of(ask("GET", "/page/savings", "", key)); };
  EXPECT_EQ(told("anna")["videos"], 5);
  EXPECT_EQ(told("anna")["unknown"], 2);
  EXPECT_NEAR(told("anna")["dollars"].get<double>(), 0.4 + 0.8 + 0.36, 1e-9);  // dollars
  EXPECT_EQ(told("bert")["videos"], 1);
  EXPECT_EQ(told("root")["videos"], 6);
  EXPECT_NEAR(told("root")["dollars"].get<double>(), 1.56 + 0.04, 1e-9);
}

TEST_F(Page, APriceOfAJobIsThatOfItsOwnEndpoint) {
  begin_api();
  finished("", "wavespeed-ai/wan-2.2/speech-to-video", {{"task", "s2v"}, {"resolution", "480p"}}, 12);
  finished("", "fal-ai/wan/v2.2-a14b/text-to-video", {{"task", "t2v"}, {"resolution", "720p"}, {"num_frames", 80}});
  submit();
  const auto jobs = [&] { return json_of(ask("GET", "/page/jobs"))["jobs"]; };
  json told = jobs();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_NEAR(told[2].value("hosted", 0.0), 0.03 * 12, 1e-9) << "as in the sum";
  EXPECT_FALSE(told[1].contains("hosted")) << "no price is known";
  EXPECT_FALSE(told[0].contains("hosted")) << "there is no video yet";
  const std::string prices = R"({"prices": [{"endpoint": "fal-ai/wan/v2.2-a14b/text-to-video", "720p": 0.1}]})";
  EXPECT_EQ(ask("PUT", "/page/prices", prices).status, 204);
  told = jobs();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_NEAR(told[1].value("hosted", 0.0), 0.1 * 5, 1e-9) << "by what was kept since";
  EXPECT_FALSE(told[2].contains("hosted"));
}

TEST_F(Page, AJobHasWhatTheChecksSaidOfItsVideo) {
  begin_api();
  finished("", "fal-ai/wan/v2.2-a14b/text-to-video", job().fields);
  const JobPtr flagged = submit();
  JobOutput output{.file = "v.mp4", .bytes = 1, .seed = 1, .prompt = "", .seconds = 1};
  output.safety = {{"flagged", true}, {"action", "blur"}};
  jobs_->done(flagged, output);
  ASSERT_TRUE(until_ended({flagged}));
  json jobs = json_of(ask("GET", "/page/jobs"))["jobs"];
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0]["safety"]["flagged"], true) << jobs[0];
  EXPECT_FALSE(jobs[1].contains("safety")) << "nothing was said of it";
}

TEST_F(Page, OffersTheChecksThatTheServerHas) {
  begin_api();
  const auto checks = [&] { return json_of(ask("GET", "/page/setup"))["checks"]; };
  const json pictures = json::array({"enable_safety_checker", "enable_output_safety_checker"}),
             words = json::array({"enable_safety_checker"});
  json found = checks();
  for (const char* task : {"t2v", "i2v", "v2v", "s2v"}) EXPECT_EQ(found[task], json::array()) << task;
  settings_.blocked_words = "words.txt";
  found = checks();
  EXPECT_EQ(found["t2v"], words);
  EXPECT_EQ(found["i2v"], json::array()) << "a list of words is for prompts alone";
  settings_.safety_checker = "/checkers/falconsai";
  found = checks();
  for (const char* task : {"t2v", "i2v", "v2v", "s2v"}) EXPECT_EQ(found[task], pictures) << task;
}

TEST_F(Page, OffersTheInterpolatorsThatTheServerHas) {
  begin_api();
  EXPECT_EQ(json_of(ask("GET", "/page/setup"))["interpolators"], json::array());
  settings_.interpolators = {{"film", "/weights/film.pt"}, {"rife", "/weights/rife"}};
  const Answer answer = ask("GET", "/page/setup");
  const json both = json::array({"film", "rife"});
  EXPECT_EQ(json_of(answer)["interpolators"], both);
  EXPECT_EQ(answer.body.find("/weights"), answer.body.npos) << "where they lie is the operator's";
}

TEST_F(Page, TroublesOfWorkersAreForAdmins) {
  start_as("exit3");
  begin_api({key_named("anna"), key_named("root", {}, true)});
  ASSERT_TRUE(until([&] { return dispatcher_->workers().at(0).state == WorkerState::Broken; }));
  const auto trouble = [&](const std::string& key) {
    return json_of(ask("GET", "/page/setup", "", key))["workers"][0]["trouble"].get<std::string>();
  };
  EXPECT_EQ(trouble("anna"), "");
  EXPECT_NE(trouble("root").find("[device] must be there"), std::string::npos) << trouble("root");
}

TEST_F(Page, SigningOutTakesTheCookieFromTheBrowser) {
  begin_api({key_named("anna")});
  const Answer in = ask("POST", "/page/session", R"({"key": "anna"})");
  ASSERT_EQ(in.status, 204);
  ASSERT_EQ(in.headers.size(), 1u);
  const std::string cookie = in.headers[0].second.substr(0, in.headers[0].second.find(';'));
  std::vector<ApiExchange> exchanges = {request("GET", "/page/session"), request("DELETE", "/page/session")};
  for (ApiExchange& exchange : exchanges) exchange.headers["Cookie"] = cookie;
  const std::vector<Answer> answers = ask_all(exchanges);
  EXPECT_EQ(json_of(answers[0])["name"], "anna");
  EXPECT_EQ(answers[1].status, 204);
  ASSERT_EQ(answers[1].headers.size(), 1u);
  EXPECT_EQ(answers[1].headers[0].first, "Set-Cookie");
  EXPECT_TRUE(answers[1].headers[0].second.starts_with("wan_session=; Max-Age=0")) << answers[1].headers[0].second;
}

}  // namespace
}  // namespace wan::serve
