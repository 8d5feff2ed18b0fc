"""Rows of a small copy of Fashion Product Images, with its quirks in them."""

HEADER = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    "productDisplayName"
)
STYLES = [
    "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Blue Shirt",
    "2,Women,Apparel,Dress,Dresses,Red,,2012,,Red  Dress ",  # empty season and usage
    "3,Men,Apparel,Topwear,Tshirts,NA,Summer,2012,NA,Black, Blue, Printed Tee",  # bare commas
    '4,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,"The 9"" shoe"',
    "5,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,Has no photo",
    "6,Men,Footwear,Shoes,Casual Shoes,Black,Fall,2011,Casual,Torn photo",
    "7,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,Same name",
    "8,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,same  NAME",  # equal title and photo
    "9,Women,Apparel,Topwear,Tops,Pink,Fall,2011,Casual,Same name",  # equal title, other photo
    "10,Men,Apparel",  # cut off
    "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Again",  # a second id 1
    *(f"{i},Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Shirt {i}" for i in range(11, 21)),
]
