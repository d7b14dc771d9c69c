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
    {"vgpo", "{}",
     "{\"loss\":-0.34802301,\"dlogp\":[[[-0.10783499,-0.097573136],[null,null,null],[null,null],[null]],[["
     "-0.035714286,-0.032315622],[null,null,null,null],[null,null,null]]],\"groups\":[{\"samples\":[{\"adv"
     "antage\":[1.3660239,1.3660239]},{},{\"advantage\":[-0.8660239,null]},{}]},{\"samples\":[{},{},{\"adv"
     "antage\":[0.5,null,null]}]}]}",
     "[{\"samples\":[{\"steps\":[[0,2]],\"step_rewards\":[1]},{\"steps\":[[0,3]],\"step_rewards\":[1]},{\""
     "steps\":[[0,2]],\"step_rewards\":[0]},{\"steps\":[[0,1]],\"step_rewards\":[0]}]},{\"samples\":[{\"st"
     "eps\":[[0,2]],\"step_rewards\":[1]},{\"steps\":[[0,4]],\"step_rewards\":[1]},{\"steps\":[[0,3]],\"st"
     "ep_rewards\":[1]}]}]",
     NULL},
    {"grpo_s", "{}",
     "{\"loss\":0.10138421,\"dlogp\":[[[-0.047830075,-0.043475175],[null,null,null],[null,null],[null]],[["
     "null,null],[null,null,null,null],[0.061130933,0.058158383,0.074625359]]],\"scale\":[{\"alpha_m\":0.8"
     "4641484,\"alpha_d\":[0.83553344,0.95284456,1.0634578,1.1315155]},{\"alpha_m\":1,\"alpha_d\":[0.88332"
     "517,1,1.1084652]}],\"groups\":[{\"samples\":[{\"advantage\":[0.61245895,null]},{\"advantage\":[0.698"
     "44982,null,null]},{\"advantage\":[-0.77953106,null]},{\"advantage\":[-0.82941838]}]},{\"samples\":[{"
     "\"advantage\":[0.50998714,null]},{\"advantage\":[0.57734927,null,null,null]},{\"advantage\":[-1.2799"
     "431,null,null]}]}]}",
     "[{\"samples\":[{\"similarity\":0.9,\"gap\":0.1},{\"similarity\":0.6,\"gap\":0.4},{\"similarity\":0.3"
     ",\"gap\":0.9},{\"similarity\":0.1,\"gap\":2.5}]},{\"samples\":[{\"similarity\":0.8,\"gap\":0.2},{\"s"
     "imilarity\":0.5,\"gap\":0.6},{\"similarity\":0.2,\"gap\":1.1}]}]",
     NULL},
    {"mo_grpo",
     "{\"components\":[\"safety\",\"meaningfulness\",\"actionability\",\"politeness\"],\"weights\":[0.25,0"
     ".25,0.25,0.25]}",
     "{\"loss\":-0.044306624,\"rm_loss\":0.39285714,\"drm\":[[{\"safety\":-0.071428571,\"meaningfulness\":"
     "-0.035714286,\"actionability\":0,\"politeness\":-0.053571429},null,null,null],null],\"groups\":[{\"s"
     "amples\":[{\"reward\":0.4375,\"advantage\":[-0.38729353,null]},{\"reward\":0.5625,\"advantage\":[1.1"
     "618806,null,null]},{\"reward\":0.375,\"advantage\":[-1.1618806,null]},{\"reward\":0.5,\"advantage\":"
     "[0.38729353]}]},{\"samples\":[{\"reward\":0.375,\"advantage\":[-0.999992,null]},{\"reward\":0.5,\"ad"
     "vantage\":[0,null,null,null]},{\"reward\":0.625,\"advantage\":[0.999992,null,null]}]}]}",
     "[{\"samples\":[{\"rewards\":{\"safety\":0.0,\"meaningfulness\":0.5,\"actionability\":1.0,\"politenes"
     "s\":0.25},\"labels\":{\"safety\":1,\"meaningfulness\":1,\"actionability\":1,\"politeness\":1}},{\"re"
     "wards\":{\"safety\":0.75,\"meaningfulness\":0.0,\"actionability\":0.5,\"politeness\":1.0},\"labels\""
     ":{\"safety\":1,\"meaningfulness\":1,\"actionability\":1,\"politeness\":1}},{\"rewards\":{\"safety\":"
     "0.25,\"meaningfulness\":0.75,\"actionability\":0.0,\"politeness\":0.5},\"labels\":{\"safety\":0,\"me"
     "aningfulness\":0,\"actionability\":0,\"politeness\":0}},{\"rewards\":{\"safety\":1.0,\"meaningfulnes"
     "s\":0.25,\"actionability\":0.75,\"politeness\":0.0},\"labels\":{\"safety\":0,\"meaningfulness\":0,\""
     "actionability\":0,\"politeness\":0}}]},{\"samples\":[{\"rewards\":{\"safety\":0.25,\"meaningfulness"
     "\":0.75,\"actionability\":0.0,\"politeness\":0.5},\"labels\":{\"safety\":1,\"meaningfulness\":1,\"ac"
     "tionability\":1,\"politeness\":1}},{\"rewards\":{\"safety\":1.0,\"meaningfulness\":0.25,\"actionabil"
     "ity\":0.75,\"politeness\":0.0},\"labels\":{\"safety\":1,\"meaningfulness\":1,\"actionability\":1,\"p"
     "oliteness\":1}},{\"rewards\":{\"safety\":0.5,\"meaningfulness\":1.0,\"actionability\":0.25,\"politen"
     "ess\":0.75},\"labels\":{\"safety\":0,\"meaningfulness\":0,\"actionability\":0,\"politeness\":0}}]}]",
     NULL},
    {"flowrl", "{}",
     "{\"loss\":172.98191,\"dlogz\":[-0.22583026,0.31404974],\"delta\":[[-12.440359,-12.507025,13.240359,1"
     "3.490359],[-8.885239,-8.960239,17.120478]],\"groups\":[{\"samples\":[{\"weight\":1.1051709},{\"weigh"
     "t\":1.1051709},{\"weight\":0.8},{\"weight\":1.2}]},{\"samples\":[{\"weight\":0.90483742},{\"weight\""
     ":1.2},{\"weight\":1.1618342}]}],\"dlogp\":[[[-1.9641032,-1.9641032],[null,null,null],[null,null],[4."
     "6252658]],[[null,null],[null,null,null,null],[null,null,null]]]}",
     "[{\"log_z\":0.4,\"samples\":[{},{},{},{}]},{\"log_z\":-0.3,\"samples\":[{},{},{}]}]", NULL},
    {"flowrl", "{\"w_mode\":\"none\"}", "{\"loss\":176.808106}",
     "[{\"log_z\":0.4,\"samples\":[{},{},{},{}]},{\"log_z\":-0.3,\"samples\":[{},{},{}]}]", NULL},
    {"fl_gfn", "{\"objective\":\"fl_db\"}",
     "{\"loss\":0.25073529,\"dlogp\":[[[-0.088235294,-0.041176471],[null,null,null],[null,null],[-0.011764"
     "706]],[[null,null],[null,null,null,null],[-0.041176471,-0.0058823529,0.011764706]]],\"dlog_flow\":[["
     "[-0.088235294,0.047058824,0],null,null,null],null],\"groups\":[{\"samples\":[{\"reward\":1.8221188},"
     "{\"reward\":2.4596031},{\"reward\":0.44932896},{\"reward\":0.67032005}]},{\"samples\":[{\"reward\":1"
     ".8221188},{\"reward\":3.3201169},{\"reward\":0.30119421}]}]}",
     "[{\"log_z\":0.5,\"samples\":[{\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":["
     "-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0"
     ".15,0.1]},{\"energy\":[0.0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"energy\":["
     "-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\"log_flow\":[0."
     "2,0.15,0.1,0.05,0.0]},{\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0.2,0.15,0.1,0.05]}]}]",
     NULL},
    {"fl_gfn", "{\"objective\":\"tb\"}", "{\"loss\":1.11464286,\"dlog_z\":[-0.74285714,-0.75714286]}",
     "[{\"log_z\":0.5,\"samples\":[{\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":["
     "-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0"
     ".15,0.1]},{\"energy\":[0.0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"energy\":["
     "-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\"log_flow\":[0."
     "2,0.15,0.1,0.05,0.0]},{\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0.2,0.15,0.1,0.05]}]}]",
     NULL},
    {"fl_gfn", "{\"objective\":\"db\"}", "{\"loss\":0.445441176}",
     "[{\"log_z\":0.5,\"samples\":[{\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":["
     "-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0"
     ".15,0.1]},{\"energy\":[0.0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"energy\":["
     "-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\"log_flow\":[0."
     "2,0.15,0.1,0.05,0.0]},{\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0.2,0.15,0.1,0.05]}]}]",
     NULL},
    {"fl_gfn", "{\"objective\":\"fl_subtb\",\"lambda\":0.9}", "{\"loss\":0.605486759}",
     "[{\"log_z\":0.5,\"samples\":[{\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":["
     "-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0"
     ".15,0.1]},{\"energy\":[0.0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"energy\":["
     "-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\"log_flow\":[0."
     "2,0.15,0.1,0.05,0.0]},{\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0.2,0.15,0.1,0.05]}]}]",
     NULL},
    {"fl_gfn", "{\"objective\":\"fl_db\",\"terminal\":\"free\"}", "{\"loss\":0.27}",
     "[{\"log_z\":0.5,\"samples\":[{\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":["
     "-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0"
     ".15,0.1]},{\"energy\":[0.0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"energy\":["
     "-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\"log_flow\":[0."
     "2,0.15,0.1,0.05,0.0]},{\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0.2,0.15,0.1,0.05]}]}]",
     NULL},
    {"fl_gfn", "{\"objective\":\"fl_db\"}", "{\"loss\":0.27}",
     "[{\"log_z\":0.5,\"samples\":[{\"complete\":false,\"energy\":[-0.0,-0.3,-0.6],\"log_flow\":[0.2,0.15,"
     "0.1]},{\"complete\":false,\"energy\":[-0.0,-0.3,-0.6,-0.9],\"log_flow\":[0.2,0.15,0.1,0.05]},{\"comp"
     "lete\":false,\"energy\":[0.0,0.4,0.8],\"log_flow\":[0.2,0.15,0.1]},{\"complete\":false,\"energy\":[0"
     ".0,0.4],\"log_flow\":[0.2,0.15]}]},{\"log_z\":0.5,\"samples\":[{\"complete\":false,\"energy\":[-0.0,"
     "-0.3,-0.6],\"log_flow\":[0.2,0.15,0.1]},{\"complete\":false,\"energy\":[-0.0,-0.3,-0.6,-0.9,-1.2],\""
     "log_flow\":[0.2,0.15,0.1,0.05,0.0]},{\"complete\":false,\"energy\":[0.0,0.4,0.8,1.2],\"log_flow\":[0"
     ".2,0.15,0.1,0.05]}]}]",
     NULL},
    {"safe", "{}",
     "{\"v_soft\":[0.38363313,0.28363313,0.1,0.1377554,0.3377554,0.5,0.24585248],\"groups\":[{\"samples\":"
     "[{\"advantage\":[0.79946528,null]},{\"advantage\":[0.90406822,null,null]},{\"advantage\":[-0.9787846"
     ",null]},{\"advantage\":[-1.0833875]}]},{\"samples\":[{\"advantage\":[0.79946528,null]},{\"advantage"
     "\":[0.69486235,null,null,null]},{\"advantage\":[-1.135689,null,null]}]}],\"controller\":[null,null,n"
     "ull,null,null,null,null,null,null,null,null,{\"threshold\":0.449385,\"kl_short\":0.57405637,\"penalt"
     "y\":0.003453989,\"gate\":2.2222222},{\"threshold\":0.45207,\"kl_short\":0.52135662,\"penalty\":0.001"
     "0668078}],\"kl\":0.047058824,\"policy_loss\":-0.125873,\"value_loss\":0.30204187,\"loss\":0.01821474"
     "1,\"dv1\":[-0.023598442,null,null,null,null,null,null],\"dv2\":[-0.012115844,null,null,null,null,nul"
     "l,null]}",
     "[{\"samples\":[{\"rewards\":{\"rm\":1},\"v1\":0.3,\"v2\":0.5,\"v_old\":0.35,\"entropy\":[0.8,0.8]},{"
     "\"rewards\":{\"rm\":1},\"v1\":0.4,\"v2\":0.2,\"v_old\":0.25,\"entropy\":[0.8,0.8,0.8]},{\"rewards\":"
     "{\"rm\":-1},\"v1\":0.1,\"v2\":0.1,\"v_old\":0.05,\"entropy\":[0.8,0.8]},{\"rewards\":{\"rm\":-1},\"v"
     "1\":0,\"v2\":0.4,\"v_old\":0.15,\"entropy\":[0.8]}]},{\"samples\":[{\"rewards\":{\"rm\":1},\"v1\":0."
     "6,\"v2\":0.2,\"v_old\":0.35,\"entropy\":[0.8,0.8]},{\"rewards\":{\"rm\":1},\"v1\":0.5,\"v2\":0.5,\"v"
     "_old\":0.45,\"entropy\":[0.8,0.8,0.8,0.8]},{\"rewards\":{\"rm\":-1},\"v1\":0.2,\"v2\":0.3,\"v_old\":"
     "0.2,\"entropy\":[0.8,0.8,0.8]}]}]",
     "{\"trace\":[{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},"
     "{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,"
     "\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":"
     "0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward"
     "\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"kl\":0.8,\"entropy\":0.8,\"reward\":0.4},{\"k"
     "l\":0.8,\"entropy\":0.8,\"reward\":0.4}],\"raw_reward_mean\":0.5}"},
    {"par", "{}",
     "{\"loss\":0.003278052,\"dlogp\":[[[-0.023778027,-0.0215355],[null,null,null],[null,null],[null]],[[n"
     "ull,null],[null,null,null,null],[0.059287636,0.056397509,0.072407886]]],\"groups\":[{\"samples\":[{"
     "\"reward\":0.72701138,\"advantage\":[0.36657932,null]},{\"reward\":0.5,\"advantage\":[-0.39241345,nu"
     "ll,null]},{\"reward\":0.27298862,\"advantage\":[-1.1514062,null]},{\"reward\":0.9694765,\"advantage"
     "\":[1.1772403]}]},{\"samples\":[{\"reward\":0.52473166,\"advantage\":[0.014996784,null]},{\"reward\""
     ":0.74839224,\"advantage\":[0.99241722,null,null,null]},{\"reward\":0.29077606,\"advantage\":[-1.0074"
     "14,null,null]}]}]}",
     "[{\"ref_rewards\":[0.2,0.8],\"samples\":[{\"rewards\":{\"rm\":1.5}},{\"rewards\":{\"rm\":0.5}},{\"re"
     "wards\":{\"rm\":-0.5}},{\"rewards\":{\"rm\":4}}]},{\"ref_rewards\":[-0.3,0.1],\"samples\":[{\"reward"
     "s\":{\"rm\":0}},{\"rewards\":{\"rm\":1}},{\"rewards\":{\"rm\":-1}}]}]",
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
