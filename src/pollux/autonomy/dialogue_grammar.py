# ruff: noqa: E501 - data: one phrase a line
"""The phrases from which the question router learns, and a small thesaurus. Data, no logic but expansion.

`[a|b|]` is a choice, `S` a signal, `I` an input, `P` a parameter, `M` a limit, `H` a time span, `V` a value; the four
are filled with the twin's own names and labels, so that every twin gets its own training set.
"""

import re

import numpy as np

PHRASES: dict[str, tuple[str, ...]] = {
    "value": (
        "[what is|what's|whats|tell me|show me|give me|read me|read out|display] [the|our|] [current|present|actual|] "
        "[value of|reading of|state of|] [the|] S [now|right now|at the moment|please|at present|]",
        "how [high|low|large|big|much|full|empty|fast|hot|warm|strong] is [the|] S [now|right now|at the moment|currently|]",
        "how [many|much] [m|bar|watts|degrees|litres|kelvin|amps|] [does|is|has] [the|] S [have|use|using|draw|show|deliver|]",
        "[current|present|latest|actual|] S [now|please|?|]",
        "what does [the|] S [read|show|say|look like|stand at] [now|currently|right now|]",
        "where [is|does] [the|] S [stand|now|at the moment|sit|]",
        "what are we [pumping|using|consuming|delivering|seeing] [right now|currently|at the moment|] [S|]",
        "[latest|last] [measurement|reading|value] of [the|] S",
        "[could you|can you|please|] [look up|check|fetch|get|read] [the|] S [for me|please|now|]",
        "[any idea|do you know|I'd like to know|I want to know|I wonder] [how much|what|how high] [the|] [power of the|] S [is|flows|]",
        "[where's|where is|how's|how is] [the|] S [standing|at|sitting|right now|now|]",
        "S",
        "[the|our|] S [please|value|figure|number|?]",
    ),
    "overview": (
        "[give me|i need|show me|] [a|an|the] [quick|short|brief|current|] [overview|summary|status|rundown|update|report|picture] "
        "[of the plant|of the system|please|of the situation|]",
        "how [is|are] [everything|things|it|we|the plant|the system|the network|the asset|the twin] "
        "[doing|going|looking|running|] [today|now|right now|out there|]",
        "[is|are] [everything|all|things|we] [ok|okay|fine|alright|all right|in order|normal|good|well]",
        "[summarise|summarize|describe|sum up] [the|our|] [current|present|] [state|situation|status|operation]",
        "what is [going on|happening|the situation|the status|the state of the plant|new] [now|today|right now|]",
        "[what|anything] [should i|do i need to|i should|we should] [know|look at|watch|be aware of] "
        "[at handover|for the handover|when i start my shift|today|about|]",
        "[status|state|health] [report|of the twin|of the plant|please|]",
        "[brief me|fill me in|catch me up|get me up to speed|bring me up to date] [please|on the plant|]",
        "[all|everything] [quiet|calm|normal|under control|green|in the green] [out there|today|]",
        "[morning|good morning|hello|I just got here|I am back] [how did it go|what's up|what happened|how are we doing|anything new]",
        "[in two sentences|in short|briefly|roughly] [where do we stand|how are we|how does it look|what is the state]",
        "[is it|are we] [business as usual|running smoothly|on track|in good shape|stable]",
    ),
    "expect": (
        "[what|where|how high|how low|how much] will [the|] S be [in H|tomorrow|tonight|at midnight|later|H from now|by tomorrow morning]",
        "[forecast|predict|project|extrapolate|estimate] [the|] S [for the next H|over H|for tomorrow|H ahead|tonight|]",
        "[what is|show me|give me|] [the|] [forecast|prediction|outlook|projection|expectation|future] "
        "[of|for] [the|] S [in H|for the next H|over the next H|tomorrow|next day|]",
        "how will [the|] S [develop|evolve|change|move|behave|look|stand] [in H|over the next H|overnight|during the night|tomorrow|]",
        "what do you [expect|predict|foresee] [for|of] [the|] S [in H|to be|to be in H|at the end of the shift|tomorrow|]",
        "[is|will] [the|] S [going to|] [rise|fall|go up|go down|increase|decrease|grow|drop] [in the next H|in the coming H|soon|later|]",
        "S [in H|H from now|tomorrow|forecast|prediction|outlook]",
        "[where|which way] is [the|] S [heading|going|headed|trending|moving to]",
        "[give me|show me|] [a|] [look ahead|glimpse|preview] [for|at|of] [the|] S [H|for H|over H|]",
        "[what is|what's] [the|] S going to [be|look like|do|read] [in H|H from now|at midnight|tonight|around noon]",
        "S [around|at|by|towards] [noon|supper time|midnight|dawn|the evening|lunch|the end of the shift]",
        "how [much|high|low] will [the|] S [be|draw|stand|get|go] in H",
    ),
    "risk": (
        "[will|could|might|may|are we going to|do we] [we|] [violate|break|exceed|hit|cross|reach|run into] "
        "[any|a|some|the] [limit|limits|constraint|bound|threshold|M] [tonight|soon|in the next H|tomorrow|]",
        "[what is|how high is|show me|] [the|] [risk|probability|chance|likelihood|danger|odds] [of|that] [the|] "
        "[S|M|any limit|a limit violation|a violation|running dry|overflowing|a limit is violated|overflow] [in the next H|tonight|]",
        "how [likely|probable|safe|dangerous|risky] [is it that|is|are] [the|we|] [M|S|a limit violation|an overflow|next night] "
        "[falls too low|gets too high|overflows|runs dry|is violated|tonight|]",
        "when [will|does|would|could] [the|] [S|M] [become|get|fall|drop|rise] [too low|too high|below its limit|critical|over the limit]",
        "when [will|would|does] [the|] S [overflow|run dry|run empty|spill|spill over|run out|fill up]",
        "[is there|do you see|are there] [any|a|] [danger|risk|threat|chance|trouble ahead|limits at risk|constraint at risk] "
        "[of|for|that|] [the|] [S|M|violation|running dry|overflow|being violated|running empty] [soon|tonight|in H|]",
        "will [the|] S [overflow|run dry|run empty|stay within its limits|drop below its limit|fall under the minimum|exceed its maximum]",
        "[are|will] [we|the limits] [safe|be kept|stay within bounds|respected] [tonight|for the next H|]",
        "should [I|we] [worry|be worried|be concerned|care] about [the|] [low|high|] [S|limits|M] [tonight|in the next H|]",
        "[are|will] [customers|consumers|people|we] [going to|] [run short of|run out of|lose|be without] [S|water|pressure|supply] [soon|tonight|]",
        "how [close|near] are we to [trouble|the limit|a limit|a violation|the edge] [in the next H|tonight|]",
        "[will|could|does] [anything|something|it] [go|run|get] [over|beyond|under|below|out of] [its|the|] [limit|limits|bounds|range|spill]",
        "[chances|odds] [we|it] [go|goes|run|runs] [out of bounds|over the limit|dry|over] [before noon|tonight|in H|]",
    ),
    "past": (
        "[what was|show me|tell me|give me|] [the|] [lowest|highest|minimum|maximum|average|mean|peak|smallest|largest|median] "
        "[value of|] [the|] S [in the last H|over the past H|during the past H|yesterday|last night|since yesterday|this morning]",
        "how [did|has] [the|] S [change|changed|develop|behaved|moved|evolved|been] [in the last H|over the past H|since yesterday|"
        "during the past H|since this morning|last night]",
        "[show|plot|give me|display|list] [the|] [history|trend|record|course|time series|past values|evolution] [of|for] [the|] S "
        "[for the last H|since yesterday|over the last H|]",
        "S [history|over the last H|in the past H|yesterday|last night|trend]",
        "[what was|where was] [the|] S [yesterday|H ago|last night|before|earlier|this morning|last week]",
        "has [the|] S [been|] [rising|falling|increasing|decreasing|stable|fallen|risen|dropped|grown] "
        "[since yesterday|in the last H|since this morning|lately|]",
        "how [low|high] did [the|] S [get|go|fall|rise|drop] [last night|yesterday|in the last H|today]",
        "what has [the|] S been [doing|like|up to] [these past H|lately|in the last H|since yesterday]",
        "[pull up|bring up|dig out|retrieve] [the|] S [for|of|from] [the previous day|yesterday|the last H|last week]",
        "[biggest|largest|smallest|top|worst] S [in the last H|in the past H|yesterday|this week]",
        "[H ago|yesterday|earlier|before] what was [the|] S",
        "was [the|] S [steady|stable|constant|higher|lower|rising|falling] [yesterday|during the past H|over the last H|last night]",
    ),
    "what_if": (
        "what [happens|would happen|will happen|if] [if|when|] [I|we|you|] [set|run|put|hold|keep|change|turn|move] [the|] I "
        "[to|at|on|off] V [for H|until midnight|for the next H|]",
        "what if [the|] I [is|was|were|stays|stopped|stops] [closed|open|off|on|at V|shut|stopped|set to V] [for H|]",
        "what [would happen|happens|will happen] if [the|] I [stops|stopped|fails|closes|opens|trips|is shut] [for H|]",
        "[suppose|imagine|assume|say] [we|I|that|] [close|open|stop|shut|start|set] [the|] I [to V|at V|for H|], "
        "[what then|how does the S react|what happens|]",
        "[suppose|imagine|assume] [the|] I is [closed|open|off|on|at V|shut|stopped]",
        "[effect|consequences|impact|result] of [closing|opening|stopping|running|setting|shutting] [the|] I [at V|to V|for H|]",
        "[simulate|try|test|play through|model] [closing|opening|stopping|running|setting|turning off|] [the|] I [at V|to V|for H|]",
        "if [I|we|you] [run|set|close|open|stop|shut|switch off|turn off] [the|] I [at V|to V|for H|] what [will|would] [the|] "
        "[S|plant|tank] [do|be|happen]",
        "[can|could] we [afford|allow ourselves|get away with|safely] [to|] [leave|keep|leaving|keeping|run|switch] [the|] I "
        "[off|on|closed|open|at V] [for H|]",
        "[compare|difference] [I at V|closing I|stopping the I] [with|and] doing nothing",
        "[say|let's say|let's pretend|pretend] [that|] [the|] I [trips|fails|runs flat out|stops|is off|closes|is closed] [for H|], [then what|what then|]",
        "would it [hurt|matter|help|be bad] [to|if we] [close|open|stop|shut|run|switch off] [the|] I [for H|at V|]",
        "[can|could] we [live|do|manage|cope] without [the|] I [for H|until the morning|until tomorrow|]",
        "what [does|would|will] [shutting|closing|opening|stopping|running] [the|] I [at V|] do to [the|] [S|plant|supply]",
        "[play|run|think] it through: [the|] I at V",
    ),
    "diagnose": (
        "[is|are] there [a|any|] [leak|leaks|fault|faults|problem|problems|anomaly|anomalies|failure|defect|burst|error] "
        "[anywhere|somewhere|in the network|in the plant|now|]",
        "what [is|has gone|went] wrong [with the plant|with the network|with the system|here|]",
        "[have you|did you] [find|found|detect|detected|see|notice|noticed|spot] [any|a|something|] "
        "[fault|faults|anomaly|anomalies|leak|problem|unusual|wrong|odd|strange]",
        "[anything|something] [wrong|unusual|odd|strange|abnormal|suspicious|broken] [here|going on|in the plant|in the network|]",
        "[diagnose|check|inspect|examine|troubleshoot] [the|] [plant|system|network|asset|situation] [for faults|for leaks|]",
        "[do|are] we [losing|lose] [water|energy|heat|material] [somewhere|anywhere|]",
        "[what's|what is] the [problem|matter|fault|trouble|diagnosis|issue] [with the plant|here|]",
        "[is|has] [a|the|some] [pipe|pump|valve|part|component] [burst|leaking|broken|faulty|defective|failed]",
        "[smells|looks|sounds|feels] like [a|] [burst|leak|fault|failure|trouble] [to me|], [do you agree|what do you think|]",
        "where [does|is|did] the [missing|lost|] [water|energy|heat] [go|going|gone]",
        "is the [network|system|plant|pipe] [tight|leaking|intact|sound|damaged]",
        "[something|somewhat]'s [off|wrong|odd|not right|fishy], [can you|] [find out|check|tell me|] [what|]",
        "[any|] [defects|faults|leaks|damage|trouble] [known|found|?|]",
        "[run|do|make] a [health check|check|diagnosis|fault search|inspection] [of|on] the [asset|plant|system|network]",
    ),
    "sensor": (
        "[can|should|may] [I|we] [trust|believe|rely on] [the|] S [sensor|gauge|reading|meter|transmitter|measurement|]",
        "[is|does] [the|] [sensor|gauge|meter|instrument|transmitter|probe|] S [sensor|gauge|meter|] "
        "[working|work|reliable|ok|healthy|correct|stuck|drifting|broken|faulty|biased|plausible|accurate|read correctly|calibrated]",
        "which [sensors|measurements|gauges|instruments|readings|meters] are [broken|bad|missing|stale|wrong|ignored|suspect|faulty|dead|"
        "you ignoring|you not using]",
        "[are|is] [all|any|the|every] [sensors|sensor|instruments|gauges|measurements|meters|transmitters] [healthy|ok|fine|working|"
        "reliable|alive|good]",
        "[how good|how|what] is the [data quality|quality of the data|sensor health|health of the sensors|quality of the measurements]",
        "[sensor|instrument|data|gauge] [health|quality|status|check]",
        "[is|are] [the|] [data|measurements|readings] [good|fresh|reliable|missing|stale|up to date]",
        "is [the|] S [sensor|] [lying|telling the truth|off|wrong|dead|honest|plausible] [to us|]",
        "does [the|] S [gauge|sensor|meter|] [still|] [tell the truth|read right|work|make sense]",
        "[any|are there] [dead|bad|frozen|silent|stuck|broken] [sensors|gauges|instruments|meters]",
        "I [doubt|distrust|do not trust|don't believe] [the|] S [gauge|meter|sensor|reading|]",
        "which [sensors|instruments|gauges] do you [distrust|doubt|ignore|leave out|trust]",
        "how [fresh|old|complete|recent] [is|are] the [data|measurements|readings]",
    ),
    "alarms": (
        "[are there|is there|do we have|have you got] [any|an|] [active|open|new|current|urgent|unacknowledged|] "
        "[alarm|alarms|alert|alerts|warning|warnings] [now|right now|at the moment|I have to acknowledge|to acknowledge|]",
        "[list|show|show me|give me|read|tell me|display] [the|all|all the|] [active|open|current|] [alarms|alerts|warnings]",
        "how many [alarms|alerts|warnings] [are there|are open|are active|do we have]",
        "[what|which] [alarms|alerts|warnings] [are active|are open|are there|do we have|are on]",
        "[any|] [active|current|urgent|] [alarms|alerts|warnings] [now|right now|please|?|]",
        "[what is|which is] the most [urgent|important|critical|serious] [alarm|alert|warning]",
        "[what|why] is [alarming|ringing|beeping]",
        "[what's|what is] [beeping|ringing|flashing|red|on the alarm board]",
        "[anything|something] [red|flashing|alarming|urgent] [on the board|on the screen|]",
        "how many [alarms|alerts] [do I have|have I got|came in]",
        "[read out|go through|open] the [alarm list|alarms|alarm board]",
        "[new|top|latest|first] [alarm|alarms|alert|alerts|warnings] [since I left|please|?|]",
    ),
    "why": (
        "why [did|do|have] you [raise|raised|give|report|send] [that|this|the|an] [alarm|alert|warning]",
        "why [do|did] you [propose|suggest|recommend|advise|think|believe|say] [that|this|so|it|there is a leak|there is a fault]",
        "[explain|justify|motivate] [the|this|that|your|] [last|latest|] [alarm|alert|warning|proposal|recommendation|decision|finding|action] "
        "[to me|please|]",
        "[what is|give me|show me|tell me] [the|your] [reason|evidence|justification|cause|grounds|explanation] "
        "[for|behind|of] [this|that|the|your] [last|latest|] [alarm|alert|warning|proposal|recommendation]",
        "what makes you [think|say|propose|suggest|recommend|believe] [so|that|this|it]",
        "how [did|do] you [come to|arrive at|reach|get to|know] [that|this|] [conclusion|decision|proposal|]",
        "[why|why so|how come|for what reason]",
        "[what is|what's|show me|where is] your [proof|evidence|argument|reasoning|justification]",
        "on what [grounds|basis|evidence] [do you say so|is that|did you decide|do you claim that]",
        "where does [this|that|the] [alarm|alert|proposal|recommendation|finding] come from",
        "[walk|talk|take] me through [your|the|] [reasoning|thinking|logic|decision|proposal]",
        "what [led|leads|brought] you to [that|this|the] [recommendation|proposal|conclusion|alarm|decision]",
        "why [would|should|on earth would] [I|we] do that",
    ),
    "proposals": (
        "what [do|would|are] you [propose|suggest|recommend|advise|proposing|suggesting] [now|to do|to change|doing|]",
        "[is|are] there [a|any|something|] [proposal|proposals|recommendation|recommendations|suggestion|suggestions|action|actions|advice] "
        "[waiting|pending|open|to approve|for me|now|]",
        "[show|list|give me|show me] [the|any|your|all|] [open|pending|current|] [proposals|recommendations|suggestions|advice]",
        "[is|does] anything [waiting|wait|pending|need] [for my approval|for approval|my approval|to be approved|]",
        "what [should|can|must] [I|we] do [now|next|]",
        "[do you have|have you|any|got] [any|] [advice|recommendation|suggestion|proposal|tip] [for me|at the moment|now|]",
        "which [proposals|actions|decisions] [are|] [pending|waiting|open|need approval|wait for me]",
        "[what do I have to|what must I|anything to|do I need to] [sign off|decide|confirm|approve|authorise]",
        "[suggestions|recommendations|proposals|ideas|advice] [please|?|]",
        "[got|is there|have you] [anything|something] for me to [decide|approve|sign|sign off|do]",
        "what would you [change|do|do differently|do in my place]",
        "[is|are] [some|any|an|] [action|actions|decision] [on hold|waiting|open|queued|not approved yet]",
        "what is on your [list|wish list|mind|agenda]",
    ),
    "optimise": (
        "[find|compute|calculate|look for|make|search] [a|an|the|] [cheaper|better|optimal|best|more efficient|cheapest] "
        "[schedule|plan|setting|operation|strategy|set point|pump schedule]",
        "[what is|what would be|what's] the [best|optimal|cheapest|ideal|most economical|most efficient] [setting|schedule|plan|way to run the I|"
        "operation|set point|strategy] [now|tonight|for the next H|]",
        "[can|could|how can|how could] we [save|reduce|lower|cut|minimise|minimize] [energy|cost|costs|money|the bill|the electricity bill|power]",
        "[optimise|optimize|improve] [the|] [operation|schedule|plant|I|cost|energy cost|plan]",
        "[minimise|minimize|reduce|lower|cut] [the|] [energy|] [cost|costs|bill|consumption|use]",
        "[can you|please|] [optimise|optimize|plan] [the|] [schedule|operation|next hours|I]",
        "[can|could] [this|the plant|it|we] be run [any|] [cheaper|better|more efficiently|smarter]",
        "[squeeze|shrink|trim] [the|] [energy|electricity|power|] [bill|cost|costs|consumption]",
        "[work out|figure out|calculate|find] the [ideal|best|cheapest|optimal] [pumping|operating|running|] [times|hours|plan|schedule|settings]",
        "we [are paying|pay|spend] too much [for|on] [electricity|energy|power], [fix|improve|change] [the plan|it|that]",
        "[look for|search for|propose|give me] a [smarter|cheaper|better|leaner] [schedule|plan|way]",
        "[most|] [efficient|economical|cheapest] way to [get through the night|run the I|operate|pump]",
    ),
    "level": (
        "[which|what|on which|at what|in which] [autonomy|automation|] [level|mode|level of autonomy] [are we|are you|is active|is set|] "
        "[at|in|on|]",
        "who [is|has] [in|] [control|charge|controlling|command] [now|of the plant|]",
        "[are you|may you|can you|do you] [allowed to|permitted to|] [act|control|operate|decide|control the I] "
        "[on your own|by yourself|alone|automatically|autonomously|without me|]",
        "[how|are you] autonomous [are you|] [now|at present|]",
        "[is|has] [the|somebody pressed the|someone pressed the] [stop|emergency stop|kill switch] [active|set|pressed|latched|on|]",
        "[is|are] [the|] [system|plant|twin|we|you] [in|running in|on] [automatic|manual|advisory|autonomous] [mode|operation|control]",
        "do you need [my|an|] [permission|approval|consent] [to act|before you act|]",
        "who [is|'s] [driving|at the wheel|in the driving seat|responsible], [you or me|]",
        "can you [do things|act|switch things|make changes] without [asking me|me|my approval|permission]",
        "[is the|] [autopilot|automatic|automation|autonomy] [on|off|active|enabled|engaged]",
        "how far [may|can|does] [the autonomy|you|the twin] go",
        "[have|were|are] we [been|] stopped",
        "is [it|this] [hands-off|hands off|hands-on|manual|supervised] [right now|now|]",
    ),
    "record": (
        "who [approved|authorised|authorized|confirmed|accepted|rejected|stopped] [the|] [last|latest|] [command|action|proposal|change|it]",
        "[what|which] [has been|was|have you|were] [done|executed|sent|carried out|changed] [today|last night|yesterday|so far|]",
        "[show|list|show me|give me] [the|] [audit|command|action|event] [log|trail|record|records|history]",
        "[which|what] [commands|actions] [were|have been|did you] [sent|executed|issued|send|carry out] [today|last night|lately|]",
        "is the [audit|record|log|audit trail|audit log|chain] [intact|verified|complete|ok|tampered with]",
        "[list|show] [the|] [last|recent|latest] [commands|actions|decisions|approvals] [that were carried out|]",
        "when [was|did] [the|you] [I|valve|last command] [last|] [switched|changed|moved|operated|opened|closed|sent] [by you|]",
        "what did [the|] [operators|operator|people|crew|you] do [today|last night|in the last shift|during the shift|yesterday|]",
        "[has|did] [anyone|somebody|anybody|someone] [touched|touch|moved|changed|switched|sign|signed] [the|] [I|last action|anything] [since yesterday|today|last night|]",
        "[what|which] [orders|commands|instructions|set points] [went out|were given|were sent|have gone out] [to the plant|today|]",
        "[can I see|show me|open|where is] the [logbook|log|journal|record|protocol|audit]",
        "[your|the] last [three|two|few|five|] [commands|actions|interventions|moves] [please|]",
        "has the [log|record|audit|journal] been [tampered with|changed|altered|modified|edited]",
    ),
    "parameters": (
        "[what is|show me|give me|] [the|] [estimated|estimate of|learned|fitted|tracked|calibrated|identified] [the|] "
        "[P|parameters|parameter|model parameters|coefficients] [now|]",
        "[show|list|give me|show me] [the|] [parameters|tracked parameters|calibration|estimates|fitted values|model parameters]",
        "[has|did] [the|] P [changed|change|got worse|degraded|drifted|improved|aged]",
        "how [large|big|high|good] is [the|] P",
        "what [value|estimate] do you [estimate|have|see|find] for [the|] P",
        "[what is|what's] the [present|current|] [estimate|value|uncertainty] of [the|] P",
        "[current|present|] estimate of [the|] P",
        "how well is the model [calibrated|fitted|tuned]",
        "how [worn|aged|degraded|old|fouled|healthy] is the [pump|machine|asset|P|equipment]",
        "what does the model [believe|think|say|assume] about [the|] P",
        "[fitted|estimated|learned|calibrated|identified] [coefficients|values|constants|parameters] [please|]",
        "[size|extent|amount] of [the|] P",
        "what have you learned about [the|] P",
        "how [sure|certain|confident] are you about [the|] P",
    ),
    "act": (
        "[please|] [turn|switch|set|put] [the|] I [on|off|to V|down|up] [now|please|immediately|]",
        "[please|] [open|close|shut|stop|start|throttle] [the|] I [now|please|by V|]",
        "[please|] [turn|switch] [on|off] [the|] I",
        "[please|] [increase|decrease|raise|lower|reduce|change|set|adjust] [the|] I [to V|by V|]",
        "[please|] [shut down|start up|stop] [everything|pumping|the plant|operation|the I]",
        "I want [you to|] [close|open|stop|start|set] [the|] I [to V|now|]",
        "[kill|halt|trip|cut] [the|] I [now|]",
        "[the|] I to V [please|now|]",
        "[crank|ramp|wind|bring] [the|] I [up|down] [to V|]",
        "get [the|] I [closed|open|shut|off|running|going]",
        "[start|resume|stop|restart] [pumping|the pump|operation] [again|now|]",
    ),
    "help": (
        "[help|help me|?|help please]",
        "what [can|could] [you|I] [do|ask|tell me|answer|ask you|do for me]",
        "[which|what|what kind of|what sort of] [questions|things|topics] [can I ask|can you answer|do you know|do you understand|may I ask]",
        "how [can you help me|does this work|do I use this|do I use you|do I ask|can I talk to you]",
        "[what|list|show me] [are|] your [abilities|capabilities|functions|skills]",
        "[I need|give me|show me] [some|] [help|instructions|guidance|examples] [on how to use this|please|]",
        "what are you [able to do|able to tell me|good for|capable of|for]",
        "[hello|hi|good morning|who are you|what are you]",
        "how do I [talk to you|ask you|use this|start|work with you]",
        "[I'm|I am] new here [what are my options|what can I do|where do I start|]",
        "what are you [for|here for|made for|good at]",
        "[give|show] me [some|] [example|sample] questions",
        "can you explain what you [do|are|can do]",
        "[hi there|hello there|hey|good evening|hi|thanks]",
    ),
    "other": (
        "[what is|tell me] the [weather|time|news|capital of france|meaning of life|price of gold|date today|score]",
        "[tell|write|sing] me a [joke|story|poem|song|novel|haiku]",
        "who [won|is|invented|wrote] [the game|the president|the world cup|the telephone|this book|the election|the match]",
        "[translate|spell|say] [hello|this sentence|good night|a word|something] [into|in] [french|german|spanish|japanese]",
        "[how do I|can you] [cook|bake|prepare|make] [pasta|a cake|rice|coffee|dinner|bread|soup]",
        "[do you|can you] [like|love|feel|dream|sleep|eat] [music|people|me|cats|anything|chocolate|football]",
        "[book|order|buy] [me|] [a|] [flight|hotel|pizza|ticket|taxi|table]",
        "[what|which] [film|movie|book|restaurant|car|phone] [should I watch|should I read|is best|do you recommend buying]",
        "[when|what time] does the [shop|canteen|train|bus|bank|film|office] [open|close|leave|arrive|start]",
        "how [old|tall|far|rich] [are you|is the moon|is the king|is everest]",
        "[recommend|suggest] a [good|] [restaurant|film|book|holiday|hotel|song]",
        "what's [five|12|17|3|100] [times|plus|minus|divided by] [four|23|7|50]",
        "[sing|dance|rap|draw] [something|a song|a picture|for me|]",
        "how is the [stock market|economy|football team|traffic|family|queen]",
        "my [back|head|car|boss|dog|tooth] [hurts|is broken|is angry|is hungry|is ill]",
        "who is the [prime minister|president|pope|mayor|best player|king]",
    ),
}  # fmt: skip

CONCEPTS: dict[str, str] = {
    "now": "now current currently present presently moment actual latest",
    "future": "will forecast predict prediction expect expected outlook tomorrow coming next upcoming future foresee projection ahead "
    "develop evolve",
    "past": "was were been past yesterday history trend since ago earlier previous did had lately time series course",
    "statistic": "lowest highest minimum maximum average mean peak median smallest largest",
    "danger": "risk danger probability chance likelihood likely violate violated violation limit limits bound bounds constraint constraints "
    "threshold overflow overflows dry empty spill exceed safe unsafe critical below above",
    "suppose": "if suppose imagine assume simulate effect consequence consequences impact hypothetically afford scenario",
    "fault": "leak leaks leaking fault faults faulty anomaly anomalies problem problems wrong odd strange unusual abnormal burst broken lose "
    "losing failure defect",
    "sensor": "sensor sensors gauge gauges meter meters transmitter transmitters instrument instruments probe measurement measurements data",
    "trust": "trust believe rely reliable healthy quality accurate stuck drifting biased plausible correctly calibrated ignoring ignored",
    "alarm": "alarm alarms alert alerts warning warnings alarming",
    "why": "why explain reason evidence justify justification because conclusion makes grounds motivate",
    "advice": "propose proposal proposals suggest suggestion recommend recommendation recommendations advice advise approve approval pending "
    "proposing",
    "best": "optimise optimize optimal best cheaper cheapest economical efficient minimise minimize save reduce bill cost costs energy money "
    "electricity",
    "autonomy": "autonomy autonomous automatic automatically mode control charge allowed permitted permission yourself alone own stop "
    "kill switch",
    "record": "approved executed sent done audit log trail commands actions carried operators pressed authorised issued",
    "parameter": "parameter parameters estimate estimated calibration calibrated learned fitted tracked efficiency resistance coefficient",
    "do": "open close shut turn switch set start increase decrease raise lower adjust throttle please",
    "help": "help abilities capabilities instructions able questions ask understand",
    "all": "everything overview summary status rundown update situation things summarise summarize report handover",
}
"""Words that mean much the same here: a word's concept is a feature beside the word."""

SPANS = ("2 hours", "6 hours", "30 minutes", "one hour", "3 days", "a day", "12 h", "8 hours", "half an hour", "a week")
VALUES = ("0.5", "50%", "30 percent", "full speed", "0", "1", "half", "80 %", "its maximum", "2.5")
CHOICE = re.compile(r"\[([^\[\]]*)\]")


def expand(phrase: str, chance: np.random.Generator) -> str:
    """One random sentence of a phrase, slots still in it."""

    def pick(match: re.Match[str]) -> str:
        choices = match.group(1).split("|")
        return choices[int(chance.integers(len(choices)))]

    return re.sub(r"\s+", " ", CHOICE.sub(pick, phrase)).strip()


def fill(sentence: str, names: dict[str, list[str]], chance: np.random.Generator) -> str:
    """Put random names of the twin into the slots S, I, P, M and spans and values into H and V."""
    pools = {**names, "H": list(SPANS), "V": list(VALUES)}

    def put(match: re.Match[str]) -> str:
        pool = pools.get(match.group(0)) or names["S"]
        return pool[int(chance.integers(len(pool)))]

    return re.sub(r"\b[SIPMHV]\b", put, sentence)
