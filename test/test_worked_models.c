/* Published numbers on the shared worked example (worked.h) for methods that read more than it holds: values of
 * critics, flows, energies, scores of reward models. A new method is a row of worked[].
 */
#define FOLDER "/tmp/test_worked_models.XXXXXX"
#include "worked.h"

static const struct worked worked[] = {
    {"ppo", "{}",
     "{\"loss\":0.0043141825,\"policy_loss\":-0.002521702,\"value_loss\":0.068358845,\"raw_advantage\":[[["
     "0.47025,0.395],[null,null,null],[-0.48525,-0.295],[null]],[[null,null],[0.37000562,0.3826375,0.29225"
     ",0.205],[null,null,null]]],\"returns\":[[[0.97025,0.995],[null,null,null],[null,null],[null]],[[null"
     ",null],[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"advantage\":[0.96749353"
     ",0.77145811]},{},{},{\"advantage\":[-1.2735626]}]},{\"samples\":[{},{},{}]}],\"dlogp\":[[[-0.0628968"
     "07,-0.045379889],[null,null,null],[null,null],[0.10112528]],[[null,null],[null,null,null,null],[null"
     ",null,null]]],\"dvpred\":[[[-0.0024720588,-0.0017352941],[null,null,null],[null,null],[null]],[[null"
     ",null],[null,null,null,null],[null,null,null]]]}",
     "[{\"samples\":[{\"values\":[0.5,0.6],\"vpred\":[0.55,0.7]},{\"values\":[0.4,0.5,0.6],\"vpred\":[0.45"
     ",0.6,0.75]},{\"values\":[0.5,0.3],\"vpred\":[0.55,0.4]},{\"values\":[0.4],\"vpred\":[0.45]}]},{\"sam"
     "ples\":[{\"values\":[0.7,0.8],\"vpred\":[0.75,0.9]},{\"values\":[0.6,0.6,0.7,0.8],\"vpred\":[0.65,0."
     "7,0.85,1.0]},{\"values\":[0.5,0.4,0.3],\"vpred\":[0.55,0.5,0.45]}]}]",
     NULL},
    {"pf_ppo", "{\"adv_before\":true}",
     "{\"loss\":0.25087849,\"r2\":0.92564103,\"dlogp\":[[[-0.15679249,-0.14187171],[null,null,null],[null,"
     "null],[0.43408204]],[[null,null],[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":["
     "{\"advantage\":[1.1349737,null],\"kept\":true,\"weight\":0.5},{\"kept\":false,\"weight\":0},{\"kept"
     "\":false},{\"advantage\":[-1.2863035],\"kept\":true}]},{\"samples\":[{\"kept\":false},{\"advantage\""
     ":[0.70435979,null,null,null],\"kept\":true},{\"advantage\":[-1.1445847,null,null],\"kept\":true}]}]}",
     "[{\"samples\":[{\"rewards\":{\"rm\":1.4}},{\"rewards\":{\"rm\":0.2}},{\"rewards\":{\"rm\":0.5}},{\"r"
     "ewards\":{\"rm\":-1}}]},{\"samples\":[{\"rewards\":{\"rm\":0.9}},{\"rewards\":{\"rm\":1.1}},{\"rewar"
     "ds\":{\"rm\":-0.3}}]}]",
     NULL},
    {"pf_ppo", "{\"strategy\":\"all\"}", "{\"r2\":0.58692145}",
     "[{\"samples\":[{\"rewards\":{\"rm\":1.4}},{\"rewards\":{\"rm\":0.2}},{\"rewards\":{\"rm\":0.5}},{\"r"
     "ewards\":{\"rm\":-1}}]},{\"samples\":[{\"rewards\":{\"rm\":0.9}},{\"rewards\":{\"rm\":1.1}},{\"rewar"
     "ds\":{\"rm\":-0.3}}]}]",
     NULL},
    {"pf_ppo", "{\"strategy\":\"br\",\"br_index\":[0,0]}",
     "{\"r2\":0.66397631,\"groups\":[{\"samples\":[{\"weight\":0.57142857},{\"weight\":0.14285714},{},{}]}"
     ",{\"samples\":[{},{\"weight\":0.66666667},{}]}]}",
     "[{\"samples\":[{\"rewards\":{\"rm\":1.4}},{\"rewards\":{\"rm\":0.2}},{\"rewards\":{\"rm\":0.5}},{\"r"
     "ewards\":{\"rm\":-1}}]},{\"samples\":[{\"rewards\":{\"rm\":0.9}},{\"rewards\":{\"rm\":1.1}},{\"rewar"
     "ds\":{\"rm\":-0.3}}]}]",
     NULL},
    {"pf_ppo", "{\"strategy\":\"pow\"}", "{\"r2\":0.83565221}",
     "[{\"samples\":[{\"rewards\":{\"rm\":1.4}},{\"rewards\":{\"rm\":0.2}},{\"rewards\":{\"rm\":0.5}},{\"r"
     "ewards\":{\"rm\":-1}}]},{\"samples\":[{\"rewards\":{\"rm\":0.9}},{\"rewards\":{\"rm\":1.1}},{\"rewar"
     "ds\":{\"rm\":-0.3}}]}]",
     NULL},
};
enum { WORKED = sizeof worked / sizeof *worked };

static void published_numbers(void **state)
{
    (void)state;
    check_worked(worked, WORKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published_numbers)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
