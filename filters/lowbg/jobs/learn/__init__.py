"""Tables from a team's own dumps, without labelled AI text: the code behind `lowbg learn`."""
