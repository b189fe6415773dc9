#include <catch2/catch.hpp>
#include <initializer_list>
#include <vector>

#include "engine/process/build_info.h"
#include "engine/process/command_line.h"

using namespace weir::process;

namespace {

CommandLine parse(std::initializer_list<const char*> words) {
  const std::vector<const char*> list(words);
  return CommandLine::parse(list);
}

}  // namespace

TEST_CASE("options stand alone, together, and with their value in either place", "[process]") {
  CHECK(parse({"-t"}).test);
  CHECK_FALSE(parse({"-t"}).dump);
  const CommandLine both = parse({"-tq"});
  CHECK(both.test);
  CHECK(both.quiet);
  CHECK(parse({"-qT"}).dump);
  CHECK(parse({"-T"}).test);
  CHECK(parse({"-tc", "a.conf"}).conf_file == "a.conf");
  CHECK(parse({"-tca.conf"}).conf_file == "a.conf");
  CHECK(parse({"-c", "a.conf", "-p", "/x"}).prefix == "/x");
  CHECK(parse({"-p", ""}).prefix == "");
  CHECK(parse({"-g", "daemon off;"}).global_directives == "daemon off;");
  CHECK(parse({"-sreload"}).signal == "reload");
  CHECK(parse({"-?"}).help);
  CHECK(parse({"-h"}).version);
  CHECK(parse({"-V"}).build);
  CHECK(parse({"-e", "x.log"}).error_log == "x.log");
}

TEST_CASE("wrong words are told with nginx's texts", "[process]") {
  CHECK(parse({"-c"}).problem == "option \"-c\" requires file name");
  CHECK(parse({"-e"}).problem == "option \"-e\" requires file name");
  CHECK(parse({"-p"}).problem == "option \"-p\" requires directory name");
  CHECK(parse({"-g"}).problem == "option \"-g\" requires parameter");
  CHECK(parse({"-s"}).problem == "option \"-s\" requires parameter");
  CHECK(parse({"-s", "foo"}).problem == "invalid option: \"-s foo\"");
  CHECK(parse({"-tsq"}).problem == "invalid option: \"-s q\"");
  CHECK(parse({"-x"}).problem == "invalid option: \"x\"");
  CHECK(parse({"-tx"}).problem == "invalid option: \"x\"");
  CHECK(parse({"foo"}).problem == "invalid option: \"foo\"");
  CHECK(parse({""}).problem == "invalid option: \"\"");
  CHECK(parse({"--help"}).problem == "invalid option: \"-\"");
  CHECK(parse({"-"}).problem.empty());
}

TEST_CASE("paths hang together", "[process]") {
  const Locations given = Locations::of(parse({"-p", "/srv/x", "-c", "conf/a.conf"}));
  CHECK(given.prefix == "/srv/x/");
  CHECK(given.conf_file == "/srv/x/conf/a.conf");
  CHECK(given.conf_prefix == "/srv/x/conf/");
  CHECK(Locations::of(parse({"-p", "/srv/x", "-e", "logs/e.log"})).error_log ==
        "/srv/x/logs/e.log");
  CHECK(Locations::of(parse({"-e", "stderr"})).error_log == "stderr");
  // As in nginx, a relative prefix stays so in messages.
  CHECK(Locations::of(parse({"-p", "rel", "-c", "x.conf"})).conf_file == "rel/x.conf");
  CHECK(Locations::of(parse({"-p", "", "-c", "x.conf"})).conf_file == "x.conf");
  const Locations built = Locations::of(parse({}));
  CHECK(built.prefix == BuildPaths::prefix());
  CHECK(built.conf_file == BuildPaths::conf_path());
}

TEST_CASE("the build names the modules it lacks", "[process]") {
  const weir::conf::Module proxy = {.name = "ngx_http_proxy_module", .directives = {}};
  const weir::conf::Module auth = {.name = "ngx_http_auth_request_module",
                                   .directives = {},
                                   .configure_argument = "--with-http_auth_request_module"};
  const weir::conf::Module* const modules[] = {&proxy, &auth};
  const std::string text = build_description(modules);
  CHECK(text.find(" --with-http_auth_request_module") != std::string::npos);
  CHECK(text.find("--without-http_proxy_module") == std::string::npos);
  CHECK(text.find(" --without-http_fastcgi_module") != std::string::npos);
}
