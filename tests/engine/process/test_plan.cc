#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <vector>

#include "engine/process/channel.h"
#include "engine/process/control.h"
#include "engine/process/memory_file.h"
#include "engine/process/plan.h"
#include "engine/process/privileges.h"
#include "engine/process/resources.h"

using namespace weir;
using namespace weir::process;

namespace {

Plan sample() {
  Plan plan;
  plan.number = 7;
  plan.ok = plan.syntax_ok = true;
  plan.problems.push_back({Severity::warn, "careful"});
  plan.locations.prefix = "/p/";
  plan.core.pid_file = "/run/x.pid";
  plan.core.environment = {"A", "B=1"};
  plan.core.worker_processes = 3;
  ProcessorMask mask;
  mask[2] = true;
  plan.core.affinity = {mask};
  ErrorLogTarget target;
  target.kind = ErrorLogTarget::Kind::syslog;
  SyslogOptions syslog;
  syslog.tag = "weir";
  target.syslog = std::make_shared<SyslogOptions>(syslog);
  plan.core.error_log = {target};
  ListenRequest request;
  request.options.address = *net::Address::parse("[::1]:80");
  request.options.reuseport = true;
  request.options.keepalive.mode = net::KeepaliveOption::Mode::on;
  plan.resources.listeners = {request};
  plan.resources.log_files = {"/a.log", "/b.log"};
  plan.resources.temp_folders = {{"/t"}};
  plan.bundle = "recorded";
  return plan;
}

}  // namespace

TEST_CASE("a plan survives its way through bytes", "[process]") {
  const Plan plan = sample();
  const std::string bytes = plan.encode();
  Plan read;
  REQUIRE(Plan::decode(bytes, read));
  CHECK(read.number == 7);
  CHECK(read.ok);
  REQUIRE(read.problems.size() == 1);
  CHECK(read.problems[0].text == "careful");
  CHECK(read.core.environment == plan.core.environment);
  CHECK(read.core.affinity == plan.core.affinity);
  REQUIRE(read.core.error_log.size() == 1);
  CHECK(*read.core.error_log[0].syslog == *plan.core.error_log[0].syslog);
  REQUIRE(read.resources.listeners.size() == 1);
  CHECK(read.resources.listeners[0].options == plan.resources.listeners[0].options);
  CHECK(read.resources.log_files == plan.resources.log_files);
  CHECK(read.resources.temp_folders == plan.resources.temp_folders);
  CHECK(read.bundle == "recorded");
}

TEST_CASE("a cut plan is refused, not read past its end", "[process]") {
  const std::string bytes = sample().encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    Plan read;
    CHECK_FALSE(Plan::decode(std::string_view(bytes).substr(0, size), read));
  }
}

TEST_CASE("a sealed memory file cannot be changed", "[process]") {
  MemoryFile file = MemoryFile::create("test");
  REQUIRE(file.is_open());
  REQUIRE(file.write_all("text") == 0);
  REQUIRE(file.seal() == 0);
  CHECK(file.write_all("more") == EPERM);
  CHECK(MemoryMap(file).bytes() == "text");
}

TEST_CASE("messages carry descriptors", "[process]") {
  int ends[2];
  REQUIRE(open_channel(ends) == 0);
  MemoryFile file = MemoryFile::create("test");
  REQUIRE(file.write_all("through") == 0);
  Message message;
  message.kind = Message::Kind::prepare;
  message.generation = 5;
  REQUIRE(send_message(ends[0], message, {file.descriptor(), file.descriptor()}) == 0);

  Message got;
  std::vector<int> descriptors;
  REQUIRE(receive_message(ends[1], got, descriptors) == Received::message);
  CHECK(got.kind == Message::Kind::prepare);
  CHECK(got.generation == 5);
  REQUIRE(descriptors.size() == 2);
  CHECK(MemoryMap(MemoryFile(descriptors[1])).bytes() == "through");
  close(descriptors[0]);
  descriptors.clear();
  CHECK(receive_message(ends[1], got, descriptors) == Received::nothing);

  // Anything that is not a whole message closes the channel.
  REQUIRE(write(ends[0], "short", 5) == 5);
  CHECK(receive_message(ends[1], got, descriptors) == Received::closed);
  message.entry_count = Message::kMostEntries + 1;
  REQUIRE(send_message(ends[0], message) == 0);
  CHECK(receive_message(ends[1], got, descriptors) == Received::closed);
  close(ends[0]);
  CHECK(receive_message(ends[1], got, descriptors) == Received::closed);
  close(ends[1]);
}

TEST_CASE("the control socket is for its owner, and tells the verdict", "[process]") {
  char folder[] = "/tmp/weir-control-XXXXXX";
  REQUIRE(mkdtemp(folder));
  // Longer than a unix address can be.
  const std::string deep = std::string(folder) + "/" + std::string(150, 'x');
  REQUIRE(mkdir(deep.c_str(), 0700) == 0);
  const std::string pid_file = deep + "/weir.pid";
  ControlSocket control;
  REQUIRE(control.open(pid_file) == 0);
  struct stat facts{};
  REQUIRE(stat((pid_file + ".control").c_str(), &facts) == 0);
  CHECK((facts.st_mode & 0777) == 0600);
  // A second one replaces what a crash left behind.
  ControlSocket second;
  REQUIRE(second.open(pid_file) == 0);
  CHECK_FALSE(ask_reload(pid_file, getpid() + 1).connected);
  second.remove();
  CHECK(stat((pid_file + ".control").c_str(), &facts) != 0);
  CHECK_FALSE(ask_reload(pid_file, getpid()).connected);
  control.close_all();
  rmdir(deep.c_str());
  rmdir(folder);
}

TEST_CASE("what a running worker cannot change asks for new ones", "[process]") {
  const CoreSettings before = sample().core;
  CoreSettings after = before;
  CHECK_FALSE(needs_new_workers(before, after));
  after.priority = 5;
  after.shutdown_timeout.value = 100;
  after.worker_processes = 9;
  CHECK_FALSE(needs_new_workers(before, after));
  after.environment.push_back("C");
  CHECK(needs_new_workers(before, after));
  after = before;
  after.user = 12345;
  CHECK(needs_new_workers(before, after));
  after = before;
  after.working_directory = "/tmp";
  CHECK(needs_new_workers(before, after));
}

TEST_CASE("a pid file can be checked without leaving one", "[process]") {
  char folder[] = "/tmp/weir-pid-XXXXXX";
  REQUIRE(mkdtemp(folder));
  const std::string path = std::string(folder) + "/x.pid";
  CHECK(check_pid_file(path) == 0);
  CHECK(access(path.c_str(), F_OK) != 0);
  REQUIRE(write_pid_file(path) == 0);
  CHECK(check_pid_file(path) == 0);
  CHECK(access(path.c_str(), F_OK) == 0);
  CHECK(check_pid_file(std::string(folder) + "/no/x.pid") == ENOENT);
  unlink(path.c_str());
  rmdir(folder);
}
